/* The contract between the loops (Cython) and the arithmetic (C): one table of
 * function pointers for each instruction set and precision.
 *
 * A kernel computes one tile, one block of rows or one vector. It validates nothing,
 * allocates nothing and cannot fail. The letters are those of NOTATION.md: m samples in
 * the mini-batch, layer l with n_in = n_{l-1} inputs and n_out = n_l neurons.
 *
 * Every element of every product is accumulated in index order with fused multiply-add,
 * so no tile size, vector width or division of the work changes a bit of the result.
 */
#ifndef CBACKPROP_KERNELS_H
#define CBACKPROP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define CB_PANEL 16 /* neurons in one column panel of a weight matrix */
#define CB_ALIGNMENT 128 /* bytes: where each part of an arena begins, and a part of its size */
#define CB_CACHE_LINE 64 /* bytes, on the CPUs that there are */
#define CB_FEW_ROWS 2 /* up to here weighted_input takes a layer's whole width at once */

typedef ptrdiff_t cb_index;

enum cb_activation {
    CB_IDENTITY,
    CB_SIGMOID,
    CB_TANH,
    CB_RELU,
    CB_SOFTMAX,
    CB_LEAKY_RELU,
    CB_ELU,
    CB_SELU,
    CB_SOFTPLUS,
    CB_SILU,
    CB_GELU,
    CB_SOFTSIGN,
    CB_HARD_TANH,
    CB_SINE,
    CB_EXP,
    CB_OWN_ACTIVATION /* the user's: cb_own */
};
enum cb_cost {
    CB_QUADRATIC,
    CB_CROSS_ENTROPY,
    CB_LOG_LIKELIHOOD,
    CB_ABSOLUTE,
    CB_HUBER,
    CB_LOG_COSH,
    CB_QUANTILE,
    CB_POISSON,
    CB_HINGE,
    CB_SQUARED_HINGE,
    CB_OWN_COST
};
enum cb_score { CB_ARGMAX, CB_SUBSET, CB_SQUARED_ERROR, CB_SUBSET_AT_ZERO };
enum cb_source { CB_UINT8, CB_FLOAT32, CB_FLOAT64 };
enum cb_rule {
    CB_STORE, /* nabla = sum / m */
    CB_SUM,   /* nabla = sum */
    /* updates.h: */
    CB_SGD,
    CB_MOMENTUM,
    CB_NESTEROV,
    CB_ADAGRAD,
    CB_RMSPROP,
    CB_ADAM,
    CB_AMSGRAD,
    CB_NADAM,
    CB_LION,
    CB_RPROP,
    CB_SGD_ADJUSTED /* CB_SGD where adjusts or bias_decay is in use */
};

/* Which neurons are dropped is a function of the key, the epoch, the sample's position in the
 * epoch and the neuron: not of threads, mini-batches or kernel tables. */
typedef struct cb_dropout {
    uint64_t key;
    uint32_t epoch;
    uint64_t position;  /* in the epoch, of the sample in row 0 */
    uint64_t draws;     /* a sample's, of CB_DROPS neurons each */
    double noise;       /* standard deviation of what is added to the input */
} cb_dropout;

#define CB_DROPS 8      /* neurons decided by one draw, 16 bits each */

/* An activation or a cost of the user's, over whole rows of n elements, ld apart. */
typedef struct cb_own {
    void *context;
    /* a = sigma(z) */
    void (*activate)(void *context, const void *z, void *a, cb_index rows, cb_index n, cb_index ld);
    /* delta_j = sum_k delta_k da_k/dz_j */
    void (*through)(void *context, const void *z, const void *a, void *delta, cb_index rows,
                    cb_index n, cb_index ld);
    /* values[s] = C(a, y) of each row */
    void (*value)(void *context, const void *a, const void *y, double *values, cb_index rows,
                  cb_index n, cb_index ld);
    /* delta = dC/da */
    void (*slope)(void *context, const void *a, const void *y, void *delta, cb_index rows,
                  cb_index n, cb_index ld);
} cb_own;

/* Layer l as one team of threads sees it. All matrices are row-major; rows of
 * activations and errors are samples, padded to ld elements. Lanes of w, z and delta
 * beyond n_out are padding: those of w and delta are always 0, no sum reads any. */
typedef struct cb_layer {
    cb_index n_in, n_out;
    cb_index ld_in, ld_out;
    int activation;     /* enum cb_activation */
    double alpha;       /* its parameter */
    const cb_own *own;  /* of CB_OWN_ACTIVATION */
    void *w;            /* [ceil(n_out/16)][n_in + 1][16]: panels of w^T; row n_in is b^l */
    void *nabla;        /* gradient or sums, laid out like w; or NULL */
    void *state;        /* what the optimiser remembers of w, laid out like it; */
    cb_index plane;     /* bytes from there to the next of its planes */
    int planes;
    const void *a_in;   /* a^{l-1} [m][ld_in]; column n_in is the constant 1 */
    void *z, *a, *delta; /* [m][ld_out]; z == a where nobody asks for z^l */
    void *delta_block;  /* delta again, [ceil(n_out/tile_cols)][m][tile_cols], or NULL */
    cb_index m;         /* samples that the planes have room for */
    const cb_dropout *dropout; /* or NULL: no neuron of this layer is dropped */
    uint32_t drop;      /* with what probability, in 65536ths */
    cb_index first_draw; /* of a sample's, this layer's first */
    void *mask;         /* [m][ld_out]: 0, or 1 / (1 - probability) */
    void *dropped;      /* mask a: a_in of the next layer; a itself in layer 0 */
    /* In bfloat16, where the products of this layer take it (cb_bf16_kernels); or NULL: */
    void *a_bf16;       /* a_in rounded, [m][ld_in] */
    void *delta_bf16;   /* delta rounded, [m][ld_out]; NULL where BP2 does not go on from it */
    void *delta_pairs;  /* and by pairs of samples: [ceil(n_out/cols)][ceil(m/2)][cols][2], */
                        /* cols = tile_cols */
} cb_layer;

/* Whether sigma' is written in terms of z: these layers keep it in training, as those do whose
 * activation is the user's own. */
static inline int cb_needs_z(int activation)
{
    return activation == CB_SILU || activation == CB_GELU || activation == CB_SINE;
}

/* Whether a_j is a function of z_j alone, as far as the tiles know: others are done by rows. */
static inline int cb_is_elementwise(int activation)
{
    return activation != CB_SOFTMAX && activation != CB_OWN_ACTIVATION;
}

typedef struct cb_cost_function {
    int code;           /* enum cb_cost */
    double parameter;
    const cb_own *own;  /* of CB_OWN_COST */
} cb_cost_function;

/* Rows of the user's matrix, read where they lie. */
typedef struct cb_rows {
    const void *data;
    ptrdiff_t row_stride, column_stride; /* bytes, of either sign */
    cb_index width;
    int type;           /* enum cb_source */
    int bias;           /* 1: a^0, whose column `width` is the constant 1; 0: targets */
    const void *scale, *shift; /* [width] in the table's precision, or both NULL */
} cb_rows;

/* The rows of the next mini-batch, on their way from memory: of x, then of y. */
typedef struct cb_ahead {
    const cb_rows *rows, *then; /* then: NULL, or what comes after; */
    const int64_t *again;       /* its rows, as many as of the first */
    cb_index count;
    const int64_t *index; /* of those rows not yet asked for */
    cb_index left;        /* how many they are */
    cb_index at;          /* bytes of the first that are done */
    cb_index lines;       /* cache lines to ask for with each tile of BP4; */
    cb_index step,
        reach; /* by its steps: bytes from what one asks for to what the next does, and */
                          /* of all they ask for; or 0: at once */
} cb_ahead;

/* What becomes of the sums of BP3 and BP4 over a mini-batch of m samples, or of samples whose
 * weights sum to m; g = sum / m. */
typedef struct cb_update {
    int rule;           /* enum cb_rule */
    int goes_on;        /* 1: the sums go on from those in nabla */
    int adjusts;        /* 1: any of l1, l2, clip is in use */
    double m, per_sample; /* and 1 / m */
    double rate;        /* CB_SGD: eta / m; else the step's length */
    double decay, bias_decay; /* w and b are multiplied by these first */
    double l1, l2;      /* m lambda / n: sum += l2 w + l1 sgn w, for weights */
    double clip;        /* every sum is kept within -m clip .. m clip */
    double beta1, beta2; /* what is kept of the first and second plane; */
    double rest1, rest2; /* 1 - beta1, 1 - beta2 */
    double eps;
    double root;        /* Adam's: 1 / sqrt(1 - beta2^t) */
    double ahead;       /* NAdam's: the step's length along g itself */
    double low, high;   /* Rprop's bounds of a step */
} cb_update;

/* Preconditions of every tile kernel: 1 <= rows <= tile_rows (or tiles * tile_rows),
 * 1 <= cols <= tile_cols, col a multiple of tile_cols. */
typedef struct cb_kernels {
    const char *name;
    int itemsize, lanes, tile_rows, tile_cols;

    /* out[s][k] = x[index[s]][k] * scale[k] + shift[k], out[s][width] = bias, for
     * row <= s < row + rows; index NULL means index[s] = s. Sets *non_finite where a
     * converted value is NaN or infinite; never clears it. */
    void (*gather)(const cb_rows *x, const int64_t *index, cb_index row, cb_index rows, void *out,
                   cb_index ld, int *non_finite);

    /* y[s][:] = 0; y[s][labels[index[s]]] = 1; with n == 1: y[s][0] = labels[index[s]]. */
    void (*one_hot)(const int32_t *labels, const int64_t *index, cb_index row, cb_index rows,
                    void *y, cb_index ld, cb_index n);

    /* z[row:, col:] = a_in w^T + b;  a = sigma(z) where sigma is element-wise. Where
     * rows <= CB_FEW_ROWS, cols may be any number up to n_out - col. */
    void (*weighted_input)(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                           cb_index cols);

    /* For whole rows, after every column of z is there: the activations that are not
     * element-wise; dropout; and a[s][n_out] = 1 for the next layer's bias. */
    void (*complete_rows)(const cb_layer *l, cb_index row, cb_index rows);

    /* values[s] = C(a, y) of sample s, in float64, summed over outputs in a fixed order.
     * Stable from z for the pairs whose output error is a - y. y is [m][ld_out]. */
    void (*cost_value)(const cb_cost_function *cost, const cb_layer *l, const void *y, cb_index row,
                       cb_index rows, double *values);

    /* delta = dC/da. */
    void (*cost_gradient)(const cb_cost_function *cost, const cb_layer *l, const void *y,
                          cb_index row, cb_index rows);

    /* delta_j = sum_k delta_k da_k/dz_j: the sum of (2.15) where delta holds dC/da. */
    void (*through_activation)(const cb_layer *l, cb_index row, cb_index rows);

    /* delta = a sum(y) - y: BP1 of the stable pairs; sum(y) counts for softmax only. */
    void (*stable_error)(const cb_layer *l, const void *y, cb_index row, cb_index rows);

    /* delta_s = weights[index[s]] delta_s; index NULL means index[s] = s. A weight of 0 gives 0. */
    void (*weigh)(const cb_layer *l, const double *weights, const int64_t *index, cb_index row,
                  cb_index rows);

    /* CB_ARGMAX, CB_SUBSET, CB_SUBSET_AT_ZERO: values[s] = 1 where sample s is right, else 0; the
     * latter two where every output is on its target's side of 1/2 or of 0. Nothing for
     * CB_SQUARED_ERROR. */
    void (*score)(int kind, const cb_layer *l, const void *y, cb_index row, cb_index rows,
                  double *values);

    /* sums[j] += weights[index[s]] (a_j - y_j)^2 over the first `rows` samples in order, for the
     * outputs col .. col + cols; weights NULL: 1. */
    void (*add_squares)(const cb_layer *l, const void *y, const double *weights,
                        const int64_t *index, cb_index rows, cb_index col, cb_index cols,
                        double *sums);

    /* scratch = w transposed, for the input neurons col .. col + cols of layer l:
     * panels [ceil(cols/16)][n_out][16]. */
    void (*transpose)(const cb_layer *l, cb_index col, cb_index cols, void *scratch);

    /* delta^l[row:, col:] = (w^{l+1})^T delta^{l+1}, times the mask of dropout, times sigma'(z^l)
     * where sigma is element-wise. scratch: what transpose() made of layer next at col. */
    void (*propagate)(const cb_layer *l, const cb_layer *next, const void *scratch, cb_index row,
                      cb_index rows, cb_index col, cb_index cols);

    /* delta_block of samples row .. row + rows and neurons col .. col + cols from delta. */
    void (*block_errors)(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                         cb_index cols);

    /* For each of `tiles` even parts of the inputs row .. row + rows, none larger than
     * tile_rows: to[s][r] = a_in[s][the part's first + r]: [tiles][m][tile_rows]; `to` has room
     * for one vector more. */
    void (*block_inputs)(const cb_layer *l, cb_index m, cb_index row, cb_index rows, cb_index tiles,
                         void *to);

    /* sum[k][j] = sum_s a_in[s][k] delta[s][j], for inputs row .. row + rows (the input
     * n_in is the bias's constant 1), in that many tiles, and neurons col .. col + cols; then
     * the rule. inputs: what block_inputs() made of them, with delta_block; or NULL: a_in and
     * delta. Between tiles, rows of the next mini-batch are asked for where ahead is given. */
    void (*gradient)(const cb_layer *l, cb_index m, const void *inputs, cb_index row, cb_index rows,
                     cb_index tiles, cb_index col, cb_index cols, const cb_update *update,
                     cb_ahead *ahead);

    /* The rule for sums that nabla holds, in the same region. */
    void (*apply)(const cb_layer *l, cb_index row, cb_index rows, cb_index col, cb_index cols,
                  const cb_update *update);

    /* a = mask a in rows of layer 0. */
    void (*drop_inputs)(const cb_layer *l, cb_index row, cb_index rows);

    /* a += noise N(0, 1) in rows of layer 0. */
    void (*add_noise)(const cb_layer *l, const cb_dropout *chance, cb_index row, cb_index rows);

    /* sums[j] += delta_sj^2 over the first `rows` samples, for neurons col .. col + cols. */
    void (*add_error_squares)(const cb_layer *l, cb_index rows, cb_index col, cb_index cols,
                              double *sums);

    /* Penalties and clip into the sums of a panel of nabla; the sum of their squares. */
    double (*gradient_squares)(const cb_layer *l, cb_index panel, const cb_update *update);

    /* The weights into each neuron of a panel, made shorter where their norm is above `most`. */
    void (*limit_norms)(const cb_layer *l, cb_index panel, double most);

    /* 1 where all n elements, whole CB_ALIGNMENTs, are finite. */
    int (*all_finite)(const void *x, cb_index n);

    /* y[i] = f(x[i]) for i < n: exp, log, tanh, sigmoid by number; for the tests. */
    void (*function)(int which, const void *x, void *y, cb_index n);
} cb_kernels;

/* The three products with operands rounded to bfloat16 and sums in float32, two steps of k in one
 * instruction: for layers of a float32 table that have a_bf16. Tiles are of the same size, and so
 * are the preconditions; what goes along with the products in `cb_kernels` does so here. */
typedef struct cb_bf16_kernels {
    /* a_bf16 of samples row .. row + rows. */
    void (*round_inputs)(const cb_layer *l, cb_index row, cb_index rows);

    /* scratch = w^l for neurons col .. col + cols, rounded: [ceil(n_in/2)][tile_cols][2]. */
    void (*round_weights)(const cb_layer *l, cb_index col, cb_index cols, void *scratch);

    /* scratch: what round_weights() made of this layer at col. */
    void (*weighted_input)(const cb_layer *l, const void *scratch, cb_index row, cb_index rows,
                           cb_index col, cb_index cols);

    /* scratch = w transposed, for the inputs col .. col + cols, rounded:
     * [ceil(n_out/2)][tile_cols][2]. */
    void (*transpose)(const cb_layer *l, cb_index col, cb_index cols, void *scratch);

    /* delta^l, of any layer, from delta_bf16 of the next. */
    void (*propagate)(const cb_layer *l, const cb_layer *next, const void *scratch, cb_index row,
                      cb_index rows, cb_index col, cb_index cols);

    /* delta_bf16 and delta_pairs from delta, for samples row .. row + rows: row even, and rows
     * unless they are the mini-batch's last. */
    void (*round_errors)(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                         cb_index cols);

    /* The inputs row .. row + rows in that many even parts, as BP4 takes them:
     * [tiles][tile_rows][cb_bf16_stride(m)]. */
    void (*block_inputs)(const cb_layer *l, cb_index m, cb_index row, cb_index rows, cb_index tiles,
                         void *to);

    /* The sums and the rule; they begin at 0 and are not divided: neither goes_on nor CB_STORE. */
    void (*gradient)(const cb_layer *l, cb_index m, const void *inputs, cb_index row, cb_index rows,
                     cb_index tiles, cb_index col, cb_index cols, const cb_update *update,
                     cb_ahead *ahead);
} cb_bf16_kernels;

/* Pairs of samples in a row of BP4's inputs: whole vectors. */
static inline cb_index cb_bf16_stride(cb_index m) { return (m + 31) / 32 * 16; }

/* dispatch.c: the table in use; bits = 32 or 64. */
const cb_kernels *cb_kernels_in_use(int bits);
/* The table by name, or NULL where this build or this CPU has none. */
const cb_kernels *cb_kernels_named(const char *name, int bits);
/* Caps the choice; 0: done, -1: no such name, -2: not on this CPU or in this build. */
int cb_kernels_choose(const char *name);
/* What goes with that table on this CPU, or NULL. */
const cb_bf16_kernels *cb_bf16_kernels_of(const cb_kernels *table);

#endif
