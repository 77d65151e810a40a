/* The states of a sequence's alignments, and how a tile's scratch holds them.
 *
 * An alignment walks over blank 0, label 0, blank 1, label 1, ..., label S - 1, blank S. The states of one step lie as four
 * arrays, so that neighbouring states of a kind fill a vector. Of a sequence of T steps a gradient keeps every sqrt(T)-th
 * step and, of the stretch it walks back over, all: O(S sqrt(T)) numbers instead of O(S T). */
#ifndef FL_LATTICE_H
#define FL_LATTICE_H

#include "fastloss.h"

enum { FL_LATTICE_STEP = 8, FL_STATES_BEFORE = 8 };

/* Blanks and labels, each (1 + value) 2^power; [-1] and [width] are there, and never reached. */
typedef struct {
    double *blank, *blank_power, *label, *label_power;
} fl_states;

/* The probabilities of one step: of every label, and of the blank as element `width`. */
typedef struct {
    double *value, *power;
} fl_emissions;

/* Where things lie in the scratch, in bytes. */
typedef struct {
    int64_t width;                   /* states of a kind, rounded up to whole vectors */
    int64_t states_size, probs_size; /* bytes of a step's states, of its probabilities */
    int64_t period;                  /* steps between two that are kept */
    int64_t label, offset, input, skip, now, probs;
    int64_t kept, recent, recent_probs, back, share, place, place_of, total, source, row;
    int64_t bytes;
} fl_lattice;

static inline int64_t fl_lattice_take(fl_lattice *l, int64_t bytes) {
    int64_t at = l->bytes;
    l->bytes += (bytes + 63) / 64 * 64;
    return at;
}

static inline fl_lattice fl_lattice_of(const fl_sequences *job) {
    fl_lattice l;
    int64_t states = job->labels + 1, stretches;
    l.bytes = 0;
    l.width = (states + FL_LATTICE_STEP - 1) / FL_LATTICE_STEP * FL_LATTICE_STEP;
    l.states_size = 4 * 8 * (l.width + 2 * FL_STATES_BEFORE);
    l.probs_size = 2 * 8 * (l.width + FL_LATTICE_STEP);
    l.label = fl_lattice_take(&l, 8 * l.width);
    l.offset = fl_lattice_take(&l, 8 * (l.width + 1));
    l.input = fl_lattice_take(&l, 8 * (l.width + FL_LATTICE_STEP));
    l.skip = fl_lattice_take(&l, 8 * (l.width + FL_LATTICE_STEP));
    l.now = fl_lattice_take(&l, 2 * l.states_size);
    l.probs = fl_lattice_take(&l, l.probs_size);
    for (l.period = 1; l.period * l.period < job->steps;)
        l.period++;
    if (!job->grad.data)
        return l;
    stretches = (job->steps + l.period - 1) / l.period;
    l.kept = fl_lattice_take(&l, stretches * l.states_size);
    l.recent = fl_lattice_take(&l, l.period * l.states_size);
    l.recent_probs = fl_lattice_take(&l, l.period * l.probs_size);
    l.back = fl_lattice_take(&l, 2 * l.states_size);
    l.share = fl_lattice_take(&l, 8 * l.width);
    l.place = fl_lattice_take(&l, 8 * l.width);
    l.total = fl_lattice_take(&l, 8 * l.width);
    l.source = fl_lattice_take(&l, 8 * l.width);
    l.place_of = fl_lattice_take(&l, 8 * job->classes);
    l.row = fl_lattice_take(&l, 8 * job->classes);
    return l;
}

#endif
