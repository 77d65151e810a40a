/* The C surface of fastloss: what the binding fills in, what an instruction set offers, what the driver runs. */
#ifndef FASTLOSS_H
#define FASTLOSS_H

#include <stddef.h>
#include <stdint.h>

enum {
    FL_MAX_DIM = 64,      /* as NumPy 2 */
    FL_BLOCK = 1024,      /* elements handled at once, from the L1 cache */
    FL_AHEAD = 8192,      /* bytes: how far ahead of use memory is asked for, into the L2 cache */
    FL_AHEAD_NEAR = 3072, /* and into the L1 cache */
    FL_KEPT = 1 << 20,    /* bytes of a row's exponentials that stay in the L2 cache */
    FL_TILE = 65536,      /* elements of a tile: the unit of work and of determinism */
    FL_NARROW = 128,      /* rows of at most so many classes are handled 32 rows at once */
    FL_MAX_OPERANDS = 5,  /* of a pointwise loss, its weight included */
    FL_MAX_GRADS = 3,     /* prediction arguments of a loss */
    FL_ROW_OPERANDS = 4,  /* of a loss of sums over a row */
    FL_ROW_FACTORS = 7,   /* that such a row hands to its elements */
    FL_MAX_PARAMS = 8,
    FL_PAIR_PARTS = 2,  /* of a loss over pairs, each with a mean of its own */
    FL_SUM_DIGITS = 70, /* of an exact sum: 2^-1074 is the unit, so many digits hold all there is and a sign */
    FL_TALLY_ARRAYS = 4 /* that are added up at once */
};

/* Storage: how an element lies in memory. bool is FL_U8. */
typedef enum { FL_F32, FL_F64, FL_F16, FL_BF16, FL_I8, FL_U8, FL_I16, FL_U16, FL_I32, FL_U32, FL_I64, FL_U64 } fl_dtype;

/* An array of any layout, walked in C order; strides are in bytes and may be zero or negative. Dimensions that can be
 * walked as one are one; an array that is one number has none. */
typedef struct {
    char *data; /* NULL: absent */
    int dtype;
    int swapped; /* bytes in the other order than this machine's */
    int ndim;
    int64_t shape[FL_MAX_DIM];
    int64_t stride[FL_MAX_DIM];
} fl_array;

/* Rows x classes. `rows` walks the first elements of the rows. */
typedef struct {
    fl_array rows;
    int64_t class_stride;
} fl_matrix;

/* Rows of any shape: `matrix` where a row has one dimension at most; `row` walks a row's elements from the first row's on. */
typedef struct {
    fl_matrix matrix;
    fl_array row;
} fl_rows;

/* What one tile leaves behind. `bad` is the first item, or of sequences the first place in their targets, with a label out
 * of range; or -1. */
typedef struct {
    double sum;
    double weight;
    int64_t bad;
} fl_partial;

/* `scratch` is the thread's own, of the size that the work asks for, aligned to 64 bytes; NULL where that is 0. */
typedef void fl_tile(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch);

typedef struct {
    fl_tile *tile;
    const void *job;
    int64_t items;      /* elements or rows */
    int64_t tile_items; /* of one tile; depends on the row's length and the dtype alone */
    int64_t cost;       /* elements altogether: few of them run serially */
    int64_t scratch;    /* bytes */
    int threads;        /* 0: as many as OpenMP says */
} fl_work;

/* A pointwise loss over `size` elements. The operands are the loss's own, in its order, and the weight as the last. */
typedef struct {
    int64_t size;
    int operands;
    fl_array operand[FL_MAX_OPERANDS];
    double param[FL_MAX_PARAMS];
    double scale; /* of gradients and Hessians */
    int weighted; /* whether the weight is more than the number 1 */
    int sum;      /* whether the partial sum is wanted */
    int stream;   /* whether outputs bypass the cache */
    fl_array value, hess, grad[FL_MAX_GRADS];
} fl_pointwise;

/* What is known of a row whose classes come in pieces, between one piece and the next. */
typedef struct {
    double max, count, rest; /* as the scan's (tiles/scan.h) */
    double picked;           /* the target's logit */
    double dot, mass;        /* the kernel's own sums, the first of them as seen from `max` */
} fl_carry;

/* What to do with rows: all of it at once; or of rows in pieces, piece by piece in the order of the classes take it in;
 * then tell the values, for which nothing is read; and the derivatives of any piece. */
enum { FL_ENTIRE, FL_SCAN, FL_VALUE, FL_DERIVE };

/* A rowwise loss over `count` rows of `classes` classes: those from `first_class` on where `all_classes` come in pieces. */
typedef struct {
    int64_t count, classes, first_class, all_classes;
    int phase;
    fl_carry *carry; /* one per row, of rows in pieces */
    fl_matrix input;
    fl_matrix dense;      /* probability targets, or the upstream gradient of a row-valued function */
    fl_array label;       /* class indices, one per row */
    const void *upstream; /* factor of each row's gradient, of the compute dtype; NULL: 1 */
    const void *weight;   /* of each class, likewise */
    double weight_sum;
    int64_t ignore_index;
    int has_ignore;
    double param[FL_MAX_PARAMS];
    double softcap; /* 0: none */
    double scale;
    int stream;
    int64_t origin; /* the row with which the following begin */
    void *value;    /* one per row, of the compute dtype */
    void *score[3]; /* likewise, of a kernel that scores: entropy; logsumexp or confidence; Brier score */
    int64_t *rank, *prediction;
    fl_matrix grad, hess;
} fl_rowwise;

/* A loss that comes from sums over a row, over `count` rows of `length` elements. */
typedef struct {
    int64_t count, length;
    fl_rows operand[FL_ROW_OPERANDS];
    fl_array label;     /* one per row: an element that the row's loss treats apart */
    fl_rows labels;     /* or several, ended by a negative number */
    fl_array number;    /* one per row, for the kernel to know */
    fl_array upstream;  /* factor of each row's gradient */
    const void *weight; /* of each label, of the compute dtype */
    double param[FL_MAX_PARAMS];
    double scale;
    int stream;
    void *value;                /* one per row, of the compute dtype */
    fl_rows grad[FL_MAX_GRADS]; /* of every prediction, or of none */
} fl_rowsums;

/* Steps x sequences x classes, of any strides in bytes. */
typedef struct {
    char *data; /* NULL: absent */
    int dtype, swapped;
    int64_t step_stride, item_stride, class_stride;
} fl_series;

/* A loss over `count` sequences, each of its own length and with a target of its own length. */
typedef struct {
    int64_t count, classes;
    int64_t steps, labels; /* of the longest sequence, of the longest target */
    fl_series input;
    fl_array target; /* the labels of all targets */
    const int64_t *length, *target_length,
        *first;        /* of each sequence; `first` is its first label's place in `target` */
    int64_t all_steps; /* of the arrays: past a sequence's length the gradient is 0 */
    int64_t blank;
    int zero_infinity;
    int by_length; /* whether each loss is divided by its target's length */
    double scale;  /* of gradients */
    int stream;
    void *value; /* one per sequence, of the compute dtype */
    fl_series grad;
} fl_sequences;

/* `columns` rows y and rows x of `width` numbers, contiguous, of the compute dtype; and their squared norms. */
typedef struct {
    int64_t columns, width;
    const void *x, *y, *x_square, *y_square;
} fl_points;

/* Products of x and y, which become distances. */
typedef struct {
    fl_points points;
    void *pairs;
} fl_distances;

/* Rows of products, and the log-sum-exp of each row and of each column. */
typedef struct {
    int64_t columns;
    void *pairs;
    const void *rows_lse, *columns_lse;
    double scale;
} fl_both_ways;

/* What products become before a loss over pairs sees them: nothing else, |x - y|, or a factor times |x - y|^2. */
enum { FL_PRODUCT, FL_DISTANCE, FL_SQUARE };

/* A loss over pairs of embeddings, which are in the order of their labels: a stretch of anchors against all. */
typedef struct {
    int64_t first;              /* the first anchor's number */
    const int64_t *begin, *end; /* of each embedding: where those of its label begin and end */
    fl_points points;
    void *pairs; /* anchors x embeddings: the products; if slopes are wanted, they are written over them */
    int metric;
    double factor;
    double param[FL_MAX_PARAMS];
    int slopes;
    double *sum;     /* per anchor, of each part */
    int64_t *terms;  /* likewise */
    int64_t *picked; /* per anchor: the positive and the negative of a loss that picks; only these have slopes, */
    void *factors;   /* which stand here */
} fl_pairwise;

/* A sum without rounding: an integer in digits of 32 bits, the least first, in two's complement; and what was not finite. */
typedef struct {
    uint32_t digit[FL_SUM_DIGITS];
    int64_t nan, inf, minus_inf;
} fl_sum;

/* Exact sums of arrays, and how many ranks are below each bound, of every segment of their elements. */
typedef struct {
    const int64_t *first; /* element of each segment, and the end of the last */
    int arrays;
    const void *value[FL_TALLY_ARRAYS]; /* of the compute dtype */
    fl_sum *sum;                        /* per segment, of each array */
    const int64_t *rank;
    int bounds;
    const int64_t *bound;
    int64_t *within; /* per segment, of each bound */
} fl_tally;

/* Rows to evaluate: of each of their tiles the exact sums of loss and entropy, and how many ranks are below each bound. */
enum { FL_EVALUATED = 2 };
typedef struct {
    fl_rowwise rows;
    int64_t tile_items;
    fl_sum *sum; /* per tile, FL_EVALUATED of them, 0 before */
    int bounds;
    const int64_t *bound;
    int64_t *within; /* per tile, of each bound, 0 before */
} fl_evaluation;

/* losses.def names every kernel once; here it becomes enums, in isa.h the table, in _core.pyx the names. */
enum fl_pointwise_loss {
#define POINTWISE(name, operands, grads) FL_##name,
#include "losses.def"
    FL_POINTWISE_COUNT
};

enum fl_rowwise_loss {
#define ROWWISE(name, reads) FL_##name,
#include "losses.def"
    FL_ROWWISE_COUNT
};

enum fl_rowsums_loss {
#define ROWSUMS(name, operands, grads) FL_##name,
#include "losses.def"
    FL_ROWSUMS_COUNT
};

enum fl_sequence_loss {
#define SEQUENCE(name) FL_##name,
#include "losses.def"
    FL_SEQUENCE_COUNT
};

enum fl_pairwise_loss {
#define PAIRWISE(name) FL_##name,
#include "losses.def"
    FL_PAIRWISE_COUNT
};

enum { FL_REAL32, FL_REAL64, FL_REAL_COUNT };
enum { FL_MODE_VALUE, FL_MODE_GRAD, FL_MODE_HESS, FL_MODE_COUNT };

/* What an instruction set offers for a compute type: the only symbol of its object. */
typedef struct {
    fl_tile *pointwise[FL_POINTWISE_COUNT][FL_MODE_COUNT];
    fl_tile *rowwise[FL_ROWWISE_COUNT];
    fl_tile *rowsums[FL_ROWSUMS_COUNT];
    fl_tile *sequence[FL_SEQUENCE_COUNT];
    fl_tile *pairwise[FL_PAIRWISE_COUNT];
    fl_tile *distances, *both_ways;
    fl_tile *labels; /* checks the labels and adds up their weights */
    fl_tile *tally, *evaluate;
    fl_tile *read, *copy; /* the machine's limits, for benchmarks; the job is an fl_probe */
} fl_table;

/* And for both of them. */
typedef struct {
    const char *name;
    const fl_table *table[FL_REAL_COUNT];
} fl_isa;

typedef struct {
    const char *from;
    char *to;
} fl_probe;

/* driver.c */
void fl_init(void);
int fl_has_openmp(void);
int fl_can_thread(void);                               /* 0 in a forked child, and without OpenMP */
int fl_max_threads(void);                              /* what a call uses that asks for 0 threads */
int fl_run(const fl_work *work, fl_partial *total);    /* 0, or -1 without memory */
void fl_join(const fl_evaluation *job, int64_t tiles); /* what all of them found, in the place of the first */

/* How much of memory a rowwise kernel reads for its value. */
enum {
    FL_PICKED, /* one class of each row */
    FL_WHOLE,  /* the rows */
    FL_PAIRS   /* those of the input and of the target */
};

/* The room of one row's exponentials, and of the unit of each of its blocks behind them. */
static inline int64_t fl_kept_reals(int64_t classes) { return (classes + FL_BLOCK - 1) / FL_BLOCK * (FL_BLOCK + 16); }

/* The bytes of scratch in which a row's exponentials are kept between its passes: none where nothing comes of them,
 * and none for rows that would not stay in the cache. */
static inline int64_t fl_row_scratch(const fl_rowwise *job, int reads, int64_t real_bytes) {
    int64_t bytes = fl_kept_reals(job->classes) * real_bytes * (reads == FL_PAIRS ? 2 : 1);
    int passes = reads == FL_PAIRS || (job->grad.rows.data && job->softcap == 0 && job->phase == FL_ENTIRE);
    return passes && job->classes > FL_NARROW && bytes <= FL_KEPT ? bytes : 0;
}

/* The bytes of scratch for a row with several labels: those, what each hands to the elements, and the elements with flags. */
static inline int64_t fl_list_scratch(const fl_rowsums *job, int64_t real_bytes) {
    return job->labels.row.data ? job->length * (8 + 8 * FL_ROW_FACTORS) + (job->length + 64) * (8 + real_bytes) : 0;
}

/* Numbers that two lists of a loss over pairs take, each filled up to whole lanes. */
static inline int64_t fl_pairwise_room(int64_t columns) { return (columns + 128) / 64 * 64; }

/* The bytes of scratch: places of pairs, and both lists with their slopes. */
static inline int64_t fl_pairwise_scratch(int64_t columns, int64_t real_bytes) {
    return fl_pairwise_room(columns) * (8 + 2 * real_bytes);
}

/* dispatch.c: the instruction sets of this build, best first, and whether this machine can run one. */
int fl_isa_count(void);
const fl_isa *fl_isa_at(int i);
int fl_runs_here(const fl_isa *isa);

#endif
