/* A tile of every rowwise kernel: groups of rows, by rows, by pieces of rows or by columns, stamped from losses.def. */

/* Columns where a row has so few classes that its unit and the folding of its lanes would take longer, or where they do not lie
 * together while the rows do. For more than FL_NARROW classes both ways have the same bits. */
FL_INLINE int R(by_columns)(const fl_rowwise *job, int needs) {
    const fl_array *rows = &job->input.rows;
    int64_t item = fl_itemsize(rows->dtype);
    if (!(needs & (NEEDS_EXP | NEEDS_DOT)) || job->classes > INT32_MAX)
        return 0;
    return job->classes <= FL_NARROW ||
           (job->input.class_stride != item && rows->ndim > 0 && rows->stride[rows->ndim - 1] == item);
}

/* `pieces` is a constant: whether the rows come in pieces. */
FL_INLINE void R(rowwise_tile)(const fl_rowwise *job, int64_t first, int64_t count, fl_partial *partial,
                               R(rowwise_kernel) kernel, int pieces, void *scratch) {
    R(totals) totals = {{0}, {0}, 0, -1};
    R(row_params) params = R(params_of)(job);
    const int columns = !pieces && R(by_columns)(job, kernel.needs);
    const int64_t step = columns && !(kernel.needs & NEEDS_PAIR) ? R(lanes_for)(job->classes) : LANES;
    R(group) group;
    R(outgoing) outgoing;
    R(start_group)(&group);
    outgoing.bytes = outgoing.gone = 0;
    for (int64_t done = 0; done < count; done += step) {
        FL_ALIGNED(64) real value[R(most_lanes)];
        R(load_group)(job, first + done, fl_min(count - done, step), kernel.needs, &group, &totals);
        if (pieces)
            R(walk_pieces)(job, &group, &params, kernel, value);
        else if (kernel.needs & NEEDS_PAIR && columns)
            R(walk_pair_columns)(job, &group, &params, kernel, value);
        else if (kernel.needs & NEEDS_PAIR)
            R(walk_pair_rows)(job, &group, &params, kernel, (real *)scratch, value);
        else if (columns)
            R(walk_columns)(job, &group, &params, kernel, &outgoing, value);
        else
            R(walk_rows)(job, &group, &params, kernel, (real *)scratch, value);
        R(add_block)(totals.sum, value, group.rows);
        if (job->value)
            memcpy((real *)job->value + (first + done - job->origin), value, (size_t)group.rows * sizeof(real));
    }
    if (outgoing.gone < outgoing.bytes)
        R(send_rest)(&outgoing);
    if (job->stream)
        fl_stream_end();
    R(leave)(&totals, partial);
}

/* Pieces in a function of their own: beside them gcc does not vectorise the finish of groups. */
#define ROWWISE(name, reads)                                                                                           \
    FL_INLINE R(rowwise_kernel) R(name##_kernel)(void) {                                                               \
        return (R(rowwise_kernel)){name##_needs, R(name##_dot), R(name##_finish), R(name##_grad), R(name##_hess)};     \
    }                                                                                                                  \
    FL_NOINLINE void R(name##_pieces)(const fl_rowwise *job, int64_t first, int64_t count, fl_partial *partial) {      \
        R(rowwise_tile)(job, first, count, partial, R(name##_kernel)(), 1, NULL);                                      \
    }                                                                                                                  \
    static void R(name##_tile)(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch) {    \
        if (name##_needs & IN_PIECES && ((const fl_rowwise *)job)->phase != FL_ENTIRE)                                 \
            R(name##_pieces)((const fl_rowwise *)job, first, count, partial);                                          \
        else                                                                                                           \
            R(rowwise_tile)((const fl_rowwise *)job, first, count, partial, R(name##_kernel)(), 0, scratch);           \
    }
#include "losses.def"
