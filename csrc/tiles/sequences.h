/* Sequences: one after the other, each forward over its steps and, for the gradient, back again. A step's log-probabilities
 * are read where the target has its labels; for the gradient once more and whole, in the step whose row is written. */

/* A kernel: the recursion over the states of one step. */
typedef struct {
    void (*probs)(const double *x, int64_t n, const fl_emissions *p);
    void (*forward)(int64_t width, const fl_states *from, const fl_emissions *probs, const double *skip,
                    const fl_states *to);
    ctc_number (*total)(const fl_states *s, int64_t labels);
    double (*backward)(int64_t width, const fl_states *from, const fl_emissions *probs, const double *skip,
                       const fl_states *reached, ctc_number total, const fl_states *to, double *share);
} R(sequence_kernel);

/* One sequence, and its part of the thread's scratch. */
typedef struct {
    const fl_sequences *job;
    int64_t item, steps, labels, width, period;
    int64_t *label, *offset;
    double *input, *skip;
    fl_lattice lattice;
    char *scratch;
    int broken; /* a log-probability is no number */
} R(sequence);

FL_INLINE fl_states R(states_at)(const R(sequence) *s, int64_t at, int64_t index) {
    double *first = (double *)(void *)(s->scratch + at + index * s->lattice.states_size) + FL_STATES_BEFORE;
    int64_t apart = s->lattice.width + 2 * FL_STATES_BEFORE;
    return (fl_states){first, first + apart, first + 2 * apart, first + 3 * apart};
}

FL_INLINE fl_emissions R(probs_at)(const R(sequence) *s, int64_t at, int64_t index) {
    double *first = (double *)(void *)(s->scratch + at + index * s->lattice.probs_size);
    return (fl_emissions){first, first + s->lattice.width + FL_LATTICE_STEP};
}

FL_INLINE char *R(step_at)(const fl_series *series, int64_t step, int64_t item) {
    return series->data + step * series->step_stride + item * series->item_stride;
}

/* No state is reached. */
FL_NOINLINE void R(clear_states)(const R(sequence) *s, int64_t at, int64_t count) {
    int64_t apart = s->lattice.width + 2 * FL_STATES_BEFORE;
    double *to = (double *)(void *)(s->scratch + at);
    for (int64_t row = 0; row < 2 * count; row++, to += 2 * apart)
        for (int64_t i = 0; i < apart; i++)
            to[i] = 0, to[apart + i] = CTC_NEVER;
}

/* Reads the target; the place of its first label that is out of range, or -1. */
FL_NOINLINE int64_t R(begin_sequence)(R(sequence) *s, const fl_sequences *job, int64_t item, char *scratch) {
    s->job = job, s->item = item, s->scratch = scratch;
    s->steps = job->length[item], s->labels = job->target_length[item];
    s->lattice = fl_lattice_of(job);
    s->width = (s->labels + FL_LATTICE_STEP) / FL_LATTICE_STEP * FL_LATTICE_STEP;
    s->label = (int64_t *)(void *)(scratch + s->lattice.label);
    s->offset = (int64_t *)(void *)(scratch + s->lattice.offset);
    s->input = (double *)(void *)(scratch + s->lattice.input);
    s->skip = (double *)(void *)(scratch + s->lattice.skip);
    s->broken = 0;
    fl_load_labels(&job->target, job->first[item], s->labels, s->label);
    for (int64_t i = 0; i < s->labels; i++)
        if ((uint64_t)s->label[i] >= (uint64_t)job->classes)
            return job->first[item] + i;
    for (int64_t i = 0; i <= s->width; i++)
        s->skip[i] = i > 0 && i < s->labels && s->label[i] != s->label[i - 1] ? CTC_ALWAYS : CTC_NEVER;
    for (int64_t i = 0; i < s->labels; i++)
        s->offset[i] = s->label[i] * job->input.class_stride;
    s->offset[s->labels] = job->blank * job->input.class_stride;
    return -1;
}

/* The probabilities of a step; past the last label they are 0. */
FL_INLINE void R(read_step)(R(sequence) *s, int64_t step, R(sequence_kernel) kernel, const fl_emissions *p) {
    const fl_series *in = &s->job->input;
    double *x = s->input;
    int broken = 0;
    const char *row = R(step_at)(in, step, s->item);
    R(gather)(in->dtype, row, s->offset, s->labels + 1, in->swapped, x);
    if (step + 1 < s->steps)
        for (int64_t i = 0; i <= s->labels; i++)
            FL_PREFETCH(row + in->step_stride + s->offset[i]);
    FL_SIMD_REDUCE(|, broken)
    for (int64_t i = 0; i <= s->labels; i++)
        broken |= !(x[i] < INFINITY);
    s->broken |= broken;
    x[s->width] = x[s->labels];
    for (int64_t i = s->labels; i < s->width + FL_LATTICE_STEP; i++)
        x[i] = i == s->width ? x[i] : -INFINITY;
    kernel.probs(x, s->width + FL_LATTICE_STEP, p);
}

/* Forward over all steps; with a gradient to come, what was reached before every period's first step is kept. */
FL_INLINE ctc_number R(forward)(R(sequence) *s, R(sequence_kernel) kernel, int keeps) {
    const fl_emissions probs = R(probs_at)(s, s->lattice.probs, 0);
    R(clear_states)(s, s->lattice.now, 2);
    R(states_at)(s, s->lattice.now, 0).blank_power[0] = 0;
    for (int64_t t = 0; t < s->steps; t++) {
        fl_states from = R(states_at)(s, s->lattice.now, t % 2), to = R(states_at)(s, s->lattice.now, (t + 1) % 2);
        if (keeps && t % s->lattice.period == 0)
            memcpy(s->scratch + s->lattice.kept + t / s->lattice.period * s->lattice.states_size,
                   s->scratch + s->lattice.now + t % 2 * s->lattice.states_size, (size_t)s->lattice.states_size);
        R(read_step)(s, t, kernel, &probs);
        kernel.forward(s->width, &from, &probs, s->skip, &to);
    }
    {
        fl_states last = R(states_at)(s, s->lattice.now, s->steps % 2);
        return kernel.total(&last, s->labels);
    }
}

/* The classes that the sequence reads, each once: the blank as number 0. Returns how many there are; `place` becomes each
 * label's class among them, `source` the state whose probability is that of the class. */
FL_NOINLINE int64_t R(find_classes)(const R(sequence) *s, int64_t *place, int64_t *source, int64_t *place_of) {
    int64_t count = 1;
    for (int64_t i = 0; i < s->labels; i++)
        place_of[s->label[i]] = -1;
    place_of[s->job->blank] = 0;
    source[0] = s->width;
    for (int64_t i = 0; i < s->labels; i++) {
        int64_t *number = &place_of[s->label[i]];
        if (*number < 0) {
            *number = count;
            source[count++] = i;
        }
        place[i] = *number;
    }
    return count;
}

/* The gradient of a step: scale (e^x - share), where the share of a class that the sequence does not read is 0. */
FL_NOINLINE void R(put_step)(const R(sequence) *s, int64_t step, double scale, const fl_emissions *p, int64_t classes,
                             const int64_t *source, const double *total, real *row) {
    FL_ALIGNED(64) real buffer[FL_BLOCK];
    const fl_sequences *job = s->job;
    const fl_series *in = &job->input, *out = &job->grad;
    const char *from = R(step_at)(in, step, s->item);
    char *to = R(step_at)(out, step, s->item);
    const real factor = (real)scale;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        int64_t n = fl_min(job->classes - j, FL_BLOCK);
        const char *at = from + j * in->class_stride;
        const real *x = buffer;
        if (R(is_direct)(in->dtype, at, in->class_stride, in->swapped))
            x = (const real *)(const void *)at;
        else
            R(load)(in->dtype, at, in->class_stride, in->swapped, n, buffer);
        FL_SIMD
        for (int64_t i = 0; i < n; i++)
            row[j + i] = factor * R(exp)(x[i]);
    }
    for (int64_t k = 0; k < classes; k++) {
        int64_t state = source[k], class = k == 0 ? job->blank : s->label[state];
        double probability = (1 + p->value[state]) * ctc_power(p->power[state]);
        row[class] = (real)(scale * (probability - total[k]));
    }
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK)
        R(store)(out->dtype, to + j * out->class_stride, out->class_stride, out->swapped,
                 fl_min(job->classes - j, FL_BLOCK), row + j, job->stream);
}

FL_NOINLINE void R(fill_steps)(const R(sequence) *s, int64_t first, int64_t end, real number) {
    FL_ALIGNED(64) real numbers[FL_BLOCK];
    const fl_sequences *job = s->job;
    const fl_series *out = &job->grad;
    for (int64_t i = 0; i < fl_min(job->classes, FL_BLOCK); i++)
        numbers[i] = number;
    for (int64_t t = first; t < end; t++)
        for (int64_t j = 0; j < job->classes; j += FL_BLOCK)
            R(store)(out->dtype, R(step_at)(out, t, s->item) + j * out->class_stride, out->class_stride, out->swapped,
                     fl_min(job->classes - j, FL_BLOCK), numbers, job->stream);
}

/* Back over the steps, a period at a time: forward once more from what was kept, then back, writing a row at each step. */
FL_INLINE void R(backward)(R(sequence) *s, ctc_number total, double scale, R(sequence_kernel) kernel) {
    const fl_lattice *l = &s->lattice;
    double *share = (double *)(void *)(s->scratch + l->share), *sums = (double *)(void *)(s->scratch + l->total);
    int64_t *place = (int64_t *)(void *)(s->scratch + l->place), *source = (int64_t *)(void *)(s->scratch + l->source);
    int64_t classes = R(find_classes)(s, place, source, (int64_t *)(void *)(s->scratch + l->place_of)), back = 0;
    R(clear_states)(s, l->recent, l->period);
    R(clear_states)(s, l->back, 2);
    R(states_at)(s, l->back, 0).blank_power[s->labels] = 0;
    for (int64_t first = (s->steps - 1) / l->period * l->period; first >= 0; first -= l->period) {
        int64_t end = fl_min(first + l->period, s->steps);
        fl_states from = R(states_at)(s, l->kept, first / l->period);
        for (int64_t t = first; t < end; t++) {
            fl_states to = R(states_at)(s, l->recent, t - first);
            fl_emissions probs = R(probs_at)(s, l->recent_probs, t - first);
            R(read_step)(s, t, kernel, &probs);
            kernel.forward(s->width, &from, &probs, s->skip, &to);
            from = to;
        }
        for (int64_t t = end - 1; t >= first; t--, back = !back) {
            fl_states after = R(states_at)(s, l->back, back), to = R(states_at)(s, l->back, !back);
            fl_states reached = R(states_at)(s, l->recent, t - first);
            fl_emissions probs = R(probs_at)(s, l->recent_probs, t - first);
            double blanks = kernel.backward(s->width, &after, &probs, s->skip, &reached, total, &to, share);
            for (int64_t k = 0; k < classes; k++)
                sums[k] = 0;
            sums[0] = blanks;
            for (int64_t i = 0; i < s->labels; i++)
                sums[place[i]] += share[i];
            R(put_step)(s, t, scale, &probs, classes, source, sums, (real *)(void *)(s->scratch + l->row));
        }
    }
}

FL_INLINE void R(sequence_tile)(const fl_sequences *job, int64_t first, int64_t count, fl_partial *partial,
                                char *scratch, R(sequence_kernel) kernel) {
    double sum = 0;
    for (int64_t item = first; item < first + count; item++) {
        R(sequence) s;
        int64_t bad = R(begin_sequence)(&s, job, item, scratch);
        ctc_number total;
        double loss, divisor;
        if (bad >= 0) {
            partial->bad = bad;
            return;
        }
        total = R(forward)(&s, kernel, job->grad.data != NULL);
        loss = s.broken ? NAN : ctc_minus_log(total);
        divisor = job->by_length ? (double)(s.labels > 0 ? s.labels : 1) : 1;
        if (job->grad.data) {
            if (loss < INFINITY)
                R(backward)(&s, total, job->scale / divisor, kernel);
            else
                R(fill_steps)(&s, 0, s.steps, s.broken ? REAL_NAN : 0);
            R(fill_steps)(&s, s.steps, job->all_steps, 0);
        }
        loss = job->zero_infinity && loss == INFINITY ? 0 : loss;
        if (job->value)
            ((real *)job->value)[item] = (real)loss;
        sum += loss / divisor;
    }
    if (job->stream)
        fl_stream_end();
    partial->sum = sum;
}

#define SEQUENCE(name)                                                                                                 \
    static void R(name##_tile)(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch) {    \
        const R(sequence_kernel) kernel = {name##_probs, name##_forward, name##_total, name##_backward};               \
        R(sequence_tile)((const fl_sequences *)job, first, count, partial, (char *)scratch, kernel);                   \
    }
#include "losses.def"
