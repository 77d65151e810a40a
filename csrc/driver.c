/* The only threads. A job is cut into tiles of fixed size; each leaves a partial result, and these are added in the
 * order of the tiles: the sum has the same bits for any number of threads, one included. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* of sched.h: cores */
#endif

#include "fastloss.h"

#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>

#include "cores.h"
#endif
#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>
#define FL_FORKS 1
#else
#define FL_FORKS 0
#endif

/* Below so many elements a second thread costs more than it saves. Measured on two cores beside another busy process,
 * cross entropy: 2^18 elements take 140 us serially, and with two threads as long or 7 ms, the time slice that a thread
 * without its core waits for; 2^20 elements 510 us and 270. */
#define FL_SERIAL_COST 262144

/* After fork() the child has one thread, while the OpenMP runtime may believe in those of its parent, whoever started
 * them, and would wait for them for ever. So a forked child runs serially. Written in the child's first moment, when no
 * other thread exists. */
#if FL_FORKS
static volatile int is_forked = 0;

static void after_fork_in_child(void) { is_forked = 1; }
#endif

void fl_init(void) {
#if FL_FORKS
    pthread_atfork(NULL, NULL, after_fork_in_child);
#endif
}

int fl_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int fl_can_thread(void) {
#if FL_FORKS
    return !is_forked;
#else
    return fl_has_openmp();
#endif
}

int fl_max_threads(void) {
#ifdef _OPENMP
    return fl_can_thread() ? omp_get_max_threads() : 1;
#else
    return 1;
#endif
}

static void run_tile(const fl_work *work, int64_t i, fl_partial *partial, char *scratch) {
    int64_t first = i * work->tile_items, left = work->items - first;
    if (scratch)
        scratch += 64 - ((uintptr_t)scratch & 63);
    work->tile(work->job, first, left < work->tile_items ? left : work->tile_items, partial, scratch);
}

/* What run_tile aligns. */
static char *take_scratch(const fl_work *work) {
    return work->scratch > 0 ? (char *)malloc((size_t)work->scratch + 64) : NULL;
}

static void add(fl_partial *total, const fl_partial *partial) {
    total->sum += partial->sum;
    total->weight += partial->weight;
    if (total->bad < 0)
        total->bad = partial->bad;
}

int fl_run(const fl_work *work, fl_partial *total) {
    const fl_partial empty = {0, 0, -1};
    int64_t tiles = (work->items + work->tile_items - 1) / work->tile_items;
    char *scratch;
    *total = empty;
#ifdef _OPENMP
    int threads = !fl_can_thread() ? 1 : work->threads > 0 ? work->threads : fl_max_threads();
    if (threads > tiles)
        threads = (int)tiles;
    if (threads > 1 && work->cost >= FL_SERIAL_COST) {
        int failed = 0;
        fl_place caller = fl_here();
        fl_partial *partials = (fl_partial *)malloc((size_t)tiles * sizeof *partials);
        if (!partials)
            return -1;
        /* One after another rather than in halves: a thread that loses its core holds up one tile, not half the work. */
#pragma omp parallel num_threads(threads) reduction(| : failed)
        {
            char *scratch = take_scratch(work);
            const int helps = omp_get_thread_num() > 0;
            failed |= work->scratch > 0 && !scratch;
            if (helps)
                fl_keep_off(&caller, threads);
#pragma omp for schedule(dynamic, 1)
            for (int64_t i = 0; i < tiles; i++) {
                partials[i] = empty;
                if (!helps)
                    fl_tell(&caller);
                if (!failed)
                    run_tile(work, i, &partials[i], scratch);
            }
            free(scratch);
        }
        for (int64_t i = 0; i < tiles; i++)
            add(total, &partials[i]);
        free(partials);
        return -failed;
    }
#endif
    scratch = take_scratch(work);
    if (work->scratch > 0 && !scratch)
        return -1;
    for (int64_t i = 0; i < tiles; i++) {
        fl_partial partial = empty;
        run_tile(work, i, &partial, scratch);
        add(total, &partial);
    }
    free(scratch);
    return 0;
}

static void add_sum(fl_sum *to, const fl_sum *from) {
    uint64_t carry = 0;
    for (int i = 0; i < FL_SUM_DIGITS; i++) {
        carry += (uint64_t)to->digit[i] + from->digit[i];
        to->digit[i] = (uint32_t)carry;
        carry >>= 32;
    }
    to->nan += from->nan, to->inf += from->inf, to->minus_inf += from->minus_inf;
}

void fl_join(const fl_evaluation *job, int64_t tiles) {
    for (int64_t t = 1; t < tiles; t++) {
        for (int i = 0; i < FL_EVALUATED; i++)
            add_sum(&job->sum[i], &job->sum[t * FL_EVALUATED + i]);
        for (int b = 0; b < job->bounds; b++)
            job->within[b] += job->within[t * job->bounds + b];
    }
}
