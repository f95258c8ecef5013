/* The product of tiles.h with operands rounded to bfloat16, two steps of k at a time:
 *
 *     acc[r][v] = init[v] + sum_k A[r][k] * B[k][v],   pairs of k in order,
 *
 * one vdpbf16ps a pair, sums in float32. Forward, BP2 and BP4 all walk A and B the same way:
 *   A[r][k] at a[r * lda + k / 2], a word for each pair, the even k in its lower half;
 *   B[k][v] at b[k / 2 * TILE_COLS + v], likewise.
 * What fills up an odd last pair is 0 in one of the two.
 */
#define TILE_ROWS 12
#define TILE_COLS 32

typedef int32_t pair; /* two bfloat16 */
typedef ivec ivec_anywhere __attribute__((aligned(sizeof(pair)), may_alias));

INLINE ivec load_pairs(const pair *p) { return *(const ivec_anywhere *)p; }
INLINE void store_pairs(pair *p, ivec x) { *(ivec_anywhere *)p = x; }

INLINE vec v_dot(vec acc, ivec x, ivec y)
{
    return (vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)x, (__m512bh)y);
}

/* The lower half's numbers and the upper half's, in turn. */
INLINE ivec zip(__m512i x)
{
    static const int16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (ivec)_mm512_permutexvar_epi16(_mm512_loadu_si512(order), x);
}

/* Lane by lane, both rounded to nearest, ties to even; denormals become 0. */
INLINE ivec pairs_of(vec even, vec odd)
{
    return zip((__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even));
}

INLINE void store_rounded(uint16_t *p, vec x)
{
    const __m256bh rounded = _mm512_cvtneps_pbh((__m512)x);
    memcpy(p, &rounded, sizeof rounded);
}

/* By perfect shuffles, as in transpose.h. */
INLINE void transpose_pairs(ivec x[LANES])
{
    const __m512i first = {0x1000000000, 0x1100000001, 0x1200000002, 0x1300000003,
                           0x1400000004, 0x1500000005, 0x1600000006, 0x1700000007};
    const __m512i second = {0x1800000008, 0x1900000009, 0x1a0000000a, 0x1b0000000b,
                            0x1c0000000c, 0x1d0000000d, 0x1e0000000e, 0x1f0000000f};
    UNROLL(4)
    for (int step = 1; step < LANES; step *= 2) {
        ivec y[LANES];
        UNROLL(8)
        for (int i = 0; i < LANES / 2; i++) {
            const __m512i a = (__m512i)x[i], b = (__m512i)x[i + LANES / 2];
            y[2 * i] = (ivec)_mm512_permutex2var_epi32(a, first, b);
            y[2 * i + 1] = (ivec)_mm512_permutex2var_epi32(a, second, b);
        }
        UNROLL(16)
        for (int i = 0; i < LANES; i++)
            x[i] = y[i];
    }
}

/* Where a tile's first and second vector begin, and go; init NULL means 0. */
typedef struct ends {
    const real *init0, *init1;
    real *out0, *out1;
    cb_index ldo;
} ends;

INLINE void tile_of_pairs(const int MR, const int NV, cb_index pairs, const pair *a, cb_index lda,
                          const pair *b, const ends *e)
{
    vec acc[TILE_ROWS][2];
    const vec init0 = e->init0 ? v_load(e->init0) : (vec){0};
    const vec init1 = NV > 1 && e->init1 ? v_load(e->init1) : (vec){0};
    UNROLL(12)
    for (int r = 0; r < MR; r++)
        acc[r][0] = init0, acc[r][1] = init1;
    /* Rows r, r+1, r+2 share a base pointer: x86 addresses them as p, p + s, p + 2s. */
    const pair *p[4] = {a, a + 3 * lda, a + 6 * lda, a + 9 * lda};
    for (cb_index k = 0; k < pairs; k++) {
        const ivec x0 = load_pairs(b), x1 = NV > 1 ? load_pairs(b + LANES) : x0;
        UNROLL(12)
        for (int r = 0; r < MR; r++) {
            const ivec y = p[r / 3][(r % 3) * lda] - (ivec){0};
            acc[r][0] = v_dot(acc[r][0], x0, y);
            if (NV > 1)
                acc[r][1] = v_dot(acc[r][1], x1, y);
        }
        b += TILE_COLS;
        UNROLL(4)
        for (int q = 0; q < (MR + 2) / 3; q++)
            p[q]++;
    }
    UNROLL(12)
    for (int r = 0; r < MR; r++) {
        v_store(e->out0 + r * e->ldo, acc[r][0]);
        if (NV > 1)
            v_store(e->out1 + r * e->ldo, acc[r][1]);
    }
}

typedef void pairs_fn(cb_index pairs, const pair *a, cb_index lda, const pair *b, const ends *e);

#define INSTANCE(MR, NV)                                                                      \
    static void pairs_##MR##x##NV(cb_index pairs, const pair *a, cb_index lda, const pair *b, \
                                  const ends *e)                                              \
    {                                                                                         \
        tile_of_pairs(MR, NV, pairs, a, lda, b, e);                                           \
    }
#define EVERY_TILE(X, NV) \
    X(1, NV)              \
    X(2, NV)              \
    X(3, NV) X(4, NV) X(5, NV) X(6, NV) X(7, NV) X(8, NV) X(9, NV) X(10, NV) X(11, NV) X(12, NV)
EVERY_TILE(INSTANCE, 1)
EVERY_TILE(INSTANCE, 2)
#undef INSTANCE
#define ENTRY(MR, NV) pairs_##MR##x##NV,
static pairs_fn *const pairs_tiles[2][TILE_ROWS] = {{EVERY_TILE(ENTRY, 1)}, {EVERY_TILE(ENTRY, 2)}};
#undef ENTRY
#undef EVERY_TILE
