/* Which core a thread of a team runs on. Included by driver.c.
 *
 * Linux may wake a helper on the very core of the thread that wakes it while another is idle: of two cores that were half
 * busy it looks for no idle one, and an idle core of a virtual machine may look taken away to it. The helper then waits
 * until the caller has done all of the work alone and waits for it, call after call, until some milliseconds later the
 * load is balanced: two threads take longer than one. So a helper that finds itself on the caller's core leaves it, and
 * keeps off it, between calls too, until it finds the caller elsewhere. A thread that may run on no other core stays. */
#ifndef FL_CORES_H
#define FL_CORES_H

#if defined(__linux__)
#include <sched.h>

/* The core a caller is on, or -1, and those where it may be. */
typedef struct {
    int core;
    cpu_set_t all;
} fl_place;

static fl_place fl_here(void) {
    fl_place here;
    here.core = sched_getaffinity(0, sizeof here.all, &here.all) == 0 ? sched_getcpu() : -1;
    return here;
}

/* Told by the caller on its way. */
static void fl_tell(fl_place *caller) {
    if (caller->core >= 0)
        __atomic_store_n(&caller->core, sched_getcpu(), __ATOMIC_RELAXED);
}

/* Of a helper in a team of `threads`, at the beginning of its work. */
static void fl_keep_off(const fl_place *caller, int threads) {
    static _Thread_local cpu_set_t left; /* where it may run since it has kept off a core */
    static _Thread_local int off = -1;   /* which one */
    const int core = __atomic_load_n(&caller->core, __ATOMIC_RELAXED), meets = sched_getcpu() == core;
    cpu_set_t now;
    if (core < 0 || (!meets && (off < 0 || off == core)) || sched_getaffinity(0, sizeof now, &now) != 0)
        return;
    if (off >= 0 && CPU_EQUAL(&now, &left)) { /* else somebody has set it since, and knows */
        if (!CPU_ISSET((size_t)off, &caller->all))
            return; /* perhaps all threads have been told to be elsewhere */
        CPU_SET((size_t)off, &now);
    }
    left = now;
    off = -1;
    if (meets && CPU_COUNT(&now) >= threads) {
        CPU_CLR((size_t)core, &left);
        off = core;
    }
    if (CPU_COUNT(&left) == 0 || sched_setaffinity(0, sizeof left, &left) != 0)
        off = -1;
}
#else
typedef int fl_place;
static fl_place fl_here(void) { return 0; }
static void fl_tell(fl_place *caller) { (void)caller; }
static void fl_keep_off(const fl_place *caller, int threads) { (void)caller, (void)threads; }
#endif

#endif
