/* Where element number i of an array lies, whatever its strides. Not of any compute type; included by isa.h. */
#ifndef FL_LAYOUT_H
#define FL_LAYOUT_H

#include "compiler.h"
#include "fastloss.h"

FL_INLINE int64_t fl_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* A position in an array walked in C order: the address of an element, and how many follow it at the same stride. */
typedef struct {
    char *at;
    int64_t stride, run;
} fl_run_at;

FL_INLINE fl_run_at fl_locate(const fl_array *array, int64_t index) {
    fl_run_at here = {array->data, 0, INT64_MAX};
    if (array->ndim > 0) {
        int last = array->ndim - 1;
        for (int d = last; d > 0; d--) {
            int64_t along = index % array->shape[d];
            here.at += along * array->stride[d];
            index /= array->shape[d];
            if (d == last)
                here.run = array->shape[d] - along;
        }
        here.at += index * array->stride[0];
        if (last == 0)
            here.run = array->shape[0] - index;
        here.stride = array->stride[last];
    }
    return here;
}

FL_INLINE int64_t fl_itemsize(int dtype) {
    switch (dtype) {
    case FL_F64:
    case FL_I64:
    case FL_U64: return 8;
    case FL_F32:
    case FL_I32:
    case FL_U32: return 4;
    case FL_F16:
    case FL_BF16:
    case FL_I16:
    case FL_U16: return 2;
    default: return 1;
    }
}

FL_INLINE uint64_t fl_get_raw(const char *from, int bytes, int swapped) {
    unsigned char raw[8];
    uint64_t value = 0;
    memcpy(raw, from, (size_t)bytes);
    if (swapped)
        for (int i = 0; i < bytes / 2; i++) {
            unsigned char other = raw[i];
            raw[i] = raw[bytes - 1 - i];
            raw[bytes - 1 - i] = other;
        }
    if (bytes == 8) {
        memcpy(&value, raw, 8);
    } else if (bytes == 4) {
        uint32_t word;
        memcpy(&word, raw, 4);
        value = word;
    } else if (bytes == 2) {
        uint16_t word;
        memcpy(&word, raw, 2);
        value = word;
    } else {
        value = raw[0];
    }
    return value;
}

FL_INLINE void fl_put_raw(char *to, uint64_t value, int bytes, int swapped) {
    for (int i = 0; i < bytes; i++) {
        union {
            uint16_t word;
            unsigned char first;
        } order = {1};
        int little = order.first == 1;
        int place = little != swapped ? i : bytes - 1 - i;
        to[place] = (char)(value >> (8 * i));
    }
}

/* One label. An unsigned 64-bit one too large for a signed becomes the least of those: out of range as well. */
FL_INLINE int64_t fl_get_label(int dtype, const char *from, int swapped) {
    uint64_t raw = fl_get_raw(from, (int)fl_itemsize(dtype), swapped);
    switch (dtype) {
    case FL_I8: return (int8_t)raw;
    case FL_I16: return (int16_t)raw;
    case FL_I32: return (int32_t)raw;
    case FL_U64: return raw > (uint64_t)INT64_MAX ? INT64_MIN : (int64_t)raw;
    default: return (int64_t)raw;
    }
}

FL_INLINE void fl_labels_as(int dtype, const char *from, int64_t stride, int swapped, int64_t n, int64_t *to) {
    const int64_t item = fl_itemsize(dtype);
    if (stride == item && !swapped) {
        for (int64_t line = 0; line < n * item; line += 64) /* the next labels */
            FL_PREFETCH_NEAR(from + n * item + line);
        FL_SIMD
        for (int64_t i = 0; i < n; i++)
            to[i] = fl_get_label(dtype, from + i * item, 0);
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = fl_get_label(dtype, from + i * stride, swapped);
    }
}

/* n labels from number `first` on, of an array that begins `offset` bytes further. */
FL_NOINLINE void fl_load_labels_at(const fl_array *labels, int64_t offset, int64_t first, int64_t n, int64_t *to) {
    while (n > 0) {
        fl_run_at here = fl_locate(labels, first);
        int64_t m = fl_min(n, here.run);
        int swapped = labels->swapped;
        here.at += offset;
        switch (swapped ? -1 : labels->dtype) {
        case FL_I8: fl_labels_as(FL_I8, here.at, here.stride, 0, m, to); break;
        case FL_U8: fl_labels_as(FL_U8, here.at, here.stride, 0, m, to); break;
        case FL_I32: fl_labels_as(FL_I32, here.at, here.stride, 0, m, to); break;
        case FL_I64: fl_labels_as(FL_I64, here.at, here.stride, 0, m, to); break;
        default: fl_labels_as(labels->dtype, here.at, here.stride, swapped, m, to);
        }
        to += m, first += m, n -= m;
    }
}
FL_INLINE void fl_load_labels(const fl_array *labels, int64_t first, int64_t n, int64_t *to) {
    fl_load_labels_at(labels, 0, first, n, to);
}

#endif
