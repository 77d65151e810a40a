/* The translation unit of an instruction set and a compute type: everything below, compiled once per file of isa/; all of it
 * static but the table. FL_ISA is the instruction set's name, FL_BITS says which compute type. */

#include <math.h>

#include "fastloss.h"
#include "lattice.h"
#include "compiler.h"
#include "shuffle.h"
#include "layout.h"

#define REAL_BITS 32
#include "real_type.h"
#include "real.h"
#include "half.h"
#undef REAL_BITS
#define REAL_BITS 64
#include "real_type.h"
#include "real.h"
#include "exact.h"
#include "kernels/ctc.h"
#undef REAL_BITS
#define REAL_BITS FL_BITS
#include "real_type.h"
#include "family.h"

/* The limits: one read of the bytes, and one copy past the cache. */
static void read_tile(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const char *from = ((const fl_probe *)job)->from + first;
    uint64_t sums[16] = {0}, total = 0;
    int64_t i = 0;
    for (; i + 128 <= count; i += 128) {
        FL_PREFETCH(from + i + 2048);
        FL_PREFETCH(from + i + 2112);
        FL_SIMD
        for (int l = 0; l < 16; l++) {
            uint64_t word;
            memcpy(&word, from + i + 8 * l, 8);
            sums[l] += word;
        }
    }
    for (; i < count; i++)
        sums[0] += (unsigned char)from[i];
    for (int l = 0; l < 16; l++)
        total += sums[l];
    (void)scratch;
    partial->sum = (double)(total & 0xffff);
}

static void copy_tile(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_probe *probe = (const fl_probe *)job;
    fl_stream(probe->to + first, probe->from + first, (size_t)count);
    fl_stream_end();
    (void)scratch;
    partial->sum = 0;
}

#define FL_PASTE(a, b) a##b
#define FL_NAME(a, b) FL_PASTE(a, b)

#define FL_TABLE(isa, bits) FL_NAME(FL_NAME(fl_table_, isa), FL_NAME(_, bits))

const fl_table FL_TABLE(FL_ISA, FL_BITS) = {
    {
#define POINTWISE(name, operands, grads)                                                                               \
    {R(name##_tile_FL_MODE_VALUE), R(name##_tile_FL_MODE_GRAD), R(name##_tile_FL_MODE_HESS)},
#include "losses.def"
    },
    {
#define ROWWISE(name, reads) R(name##_tile),
#include "losses.def"
    },
    {
#define ROWSUMS(name, operands, grads) R(name##_tile),
#include "losses.def"
    },
    {
#define SEQUENCE(name) R(name##_tile),
#include "losses.def"
    },
    {
#define PAIRWISE(name) R(name##_tile),
#include "losses.def"
    },
    R(distances_tile),
    R(both_ways_tile),
    R(labels_tile),
    R(tally_tile),
    R(evaluate_tile),
    read_tile,
    copy_tile,
};
