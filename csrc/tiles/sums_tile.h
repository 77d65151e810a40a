/* A tile of every kernel of sums: batches of rows, by rows or by columns, stamped from losses.def. */

/* Columns where a row is short, so that folding its lanes would take longer, or where its elements do not lie together while the
 * rows do. Of rows that are not short both ways have the same bits. */
FL_INLINE int R(sums_by_columns)(const fl_rowsums *job, int operands) {
    const fl_rows *m = &job->operand[0];
    const fl_array *rows = &m->matrix.rows;
    int64_t item = fl_itemsize(rows->dtype);
    return R(is_short)(job, operands) ||
           (job->length <= INT32_MAX && m->row.ndim <= 1 && m->matrix.class_stride != item && rows->ndim > 0 &&
            rows->stride[rows->ndim - 1] == item);
}

FL_INLINE void R(sums_batches)(const fl_rowsums *job, int64_t first, int64_t count, fl_partial *partial,
                               R(rowsums_kernel) kernel, void *scratch) {
    FL_ALIGNED(64) R(room) room;
    FL_ALIGNED(64) R(batch) batch;
    FL_ALIGNED(64) real value[LANES];
    R(totals) totals = {{0}, {0}, 0, -1};
    R(panel) panels[FL_ROW_OPERANDS] = {{NULL, 0}};
    const int columns = R(sums_by_columns)(job, kernel.operands);
    const int64_t fit = BATCH_BYTES / ((int64_t)sizeof(real) * kernel.operands * job->length);
    const int64_t most = columns || fit >= LANES ? LANES : fit > 0 ? fit : 1;
    R(fill_room)(job, kernel.operands, &room);
    if (kernel.picks)
        memset(room.joins, 0xff, sizeof room.joins);
    if (kernel.picks && job->labels.row.data) {
        R(list_tile)(job, first, count, partial, kernel, &room, (char *)scratch);
        return;
    }
    for (int64_t done = 0; done < count; done += most) {
        R(load_batch)(job, first + done, fl_min(count - done, most), &batch, &totals);
        R(begin_batch)(job, &batch, kernel);
        if (columns) {
            if (R(is_short)(job, kernel.operands))
                R(rows_panels)(job, kernel.operands, &batch, 0, job->length, &room, panels);
            R(sum_columns)(job, &batch, &room, R(first_walk)(kernel), panels);
        } else {
            R(sum_rows)(job, &batch, &room, R(first_walk)(kernel), 0);
        }
        if (kernel.again && R(turn_batch)(job, &batch, kernel)) {
            if (columns)
                R(sum_columns)(job, &batch, &room, R(second_walk)(kernel), panels);
            else
                R(sum_rows)(job, &batch, &room, R(second_walk)(kernel), 1);
        }
        R(finish_batch)(job, &batch, kernel, value);
        if (job->grad[0].row.data && columns)
            R(put_columns)(job, &batch, &room, kernel, panels);
        else if (job->grad[0].row.data)
            R(put_rows)(job, &batch, &room, kernel);
        R(add_values)(totals.sum, value, batch.rows, done);
        if (job->value)
            memcpy((real *)job->value + batch.first, value, (size_t)batch.rows * sizeof(real));
    }
    if (job->stream)
        fl_stream_end();
    R(leave)(&totals, partial);
}

/* What a kernel that picks sums up beside the value, its label's gradient needs. */
FL_INLINE void R(rowsums_tile)(const fl_rowsums *job, int64_t first, int64_t count, fl_partial *partial,
                               R(rowsums_kernel) kernel, void *scratch) {
    R(rowsums_kernel) of_value = kernel;
    of_value.sums = 1;
    if (kernel.picks && !job->grad[0].row.data)
        R(sums_batches)(job, first, count, partial, of_value, scratch);
    else
        R(sums_batches)(job, first, count, partial, kernel, scratch);
}

#define ROWSUMS(name, operands, grads)                                                                                 \
    static void R(name##_tile)(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch) {    \
        const R(rowsums_kernel) kernel = {operands,       grads,          name##_sums,         name##_again,           \
                                          name##_start,   name##_picks,   R(name##_begin),     R(name##_add),          \
                                          R(name##_join), R(name##_turn), R(name##_add_again), R(name##_finish),       \
                                          R(name##_grad)};                                                             \
        R(rowsums_tile)((const fl_rowsums *)job, first, count, partial, kernel, scratch);                              \
    }
#include "losses.def"
