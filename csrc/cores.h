/* Which core a thread of a team runs on. Included by driver.c.
 *
 * Linux may wake a helper on the very core of the thread that wakes it while another is idle: of two cores that were half
 * busy it looks for no idle one, and an idle core of a virtual machine may look taken away to it. The helper then waits
 * until the caller has done all of the work alone and waits for it, call after call, until some milliseconds later the
 * load is balanced: two threads take longer than one. So a helper that finds itself on the caller's core leaves it, and
 * keeps off it for as long as the caller is found there. Threads that are bound to one core each stay where they are. */
#ifndef FL_CORES_H
#define FL_CORES_H

#if defined(__linux__)
#include <sched.h>

/* The calling thread's, or -1. */
static int fl_core(void) { return sched_getcpu(); }

/* Of a helper, at the beginning of its work. */
static void fl_keep_off(int core) {
    static _Thread_local cpu_set_t own, rest; /* where it may run, and what is left of that */
    static _Thread_local int off = -1;        /* the core it keeps off */
    const int here = fl_core(), meets = here == core;
    cpu_set_t now;
    if (core < 0 || (!meets && (off < 0 || off == core)) || sched_getaffinity(0, sizeof now, &now) != 0)
        return;
    own = off >= 0 && CPU_EQUAL(&now, &rest) ? own : now; /* unless somebody else has set it since */
    rest = own;
    off = -1;
    if (meets)
        CPU_CLR((size_t)core, &rest);
    if (CPU_COUNT(&rest) > 0 && sched_setaffinity(0, sizeof rest, &rest) == 0 && meets)
        off = core;
}
#else
static int fl_core(void) { return -1; }
static void fl_keep_off(int core) { (void)core; }
#endif

#endif
