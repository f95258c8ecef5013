#include "rng.h"
#include <math.h>
#include <string.h>

static inline void philox(cb_random r, uint64_t index, uint32_t x[4])
{
    uint32_t k0 = (uint32_t)r.key, k1 = (uint32_t)(r.key >> 32);
    x[0] = (uint32_t)index;
    x[1] = (uint32_t)(index >> 32);
    x[2] = r.stream;
    x[3] = r.purpose;
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * x[0], p1 = (uint64_t)0xCD9E8D57u * x[2];
        const uint32_t y0 = (uint32_t)(p1 >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(p0 >> 32) ^ x[3] ^ k1;
        x[1] = (uint32_t)p1;
        x[3] = (uint32_t)p0;
        x[0] = y0;
        x[2] = y2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

void cb_philox(cb_random r, uint64_t index, uint32_t x[4]) { philox(r, index, x); }

static uint64_t wide(uint32_t high, uint32_t low) { return (uint64_t)high << 32 | low; }

/* floor(x n / 2^64): uniform in 0 .. n-1 to within n / 2^64 */
static uint64_t below(uint64_t x, uint64_t n)
{
    const uint64_t x0 = (uint32_t)x, x1 = x >> 32, n0 = (uint32_t)n, n1 = n >> 32;
    const uint64_t middle = x1 * n0 + (x0 * n0 >> 32);
    return x1 * n1 + (middle >> 32) + ((x0 * n1 + (uint32_t)middle) >> 32);
}

/* Places drawn ahead of the exchanges, whose cache lines are on their way meanwhile. */
#define AHEAD 64

void cb_shuffle(cb_random r, int64_t *index, int64_t n)
{
    uint32_t word[4];
    int64_t place[AHEAD];
    for (int64_t i = 0; i < n; i++)
        index[i] = i;
    for (int64_t last = n - 1, draw = 0; last > 0; last -= AHEAD, draw += AHEAD) {
        const int64_t count = last < AHEAD ? last : AHEAD;
        for (int64_t c = 0; c < count; c += 2) { /* exchange c of these is with 0 .. last - c */
            philox(r, (uint64_t)(draw + c) / 2, word);
            place[c] = (int64_t)below(wide(word[0], word[1]), (uint64_t)(last - c) + 1);
            place[c + 1] = (int64_t)below(wide(word[2], word[3]), (uint64_t)(last - c));
            __builtin_prefetch(index + place[c], 1);
            __builtin_prefetch(index + place[c + 1], 1);
        }
        for (int64_t c = 0; c < count; c++) {
            const int64_t i = last - c, j = place[c], kept = index[i];
            index[i] = index[j];
            index[j] = kept;
        }
    }
}

/* 53 bits, in the middle of their interval: never 0 or 1 */
static double unit(uint32_t high, uint32_t low)
{
    return ((double)(wide(high, low) >> 11) + 0.5) * 0x1p-53;
}

void cb_uniform(cb_random r, double *out, int64_t n)
{
    uint32_t word[4];
    for (int64_t i = 0; i < n; i++) {
        cb_philox(r, (uint64_t)i, word);
        out[i] = unit(word[0], word[1]);
    }
}

/* log x for a normal x in (0, 1), to a few units in the last place: x = m 2^e,
 * log m = 2 atanh((m - 1) / (m + 1)) by its series. Not libm's, whose bits differ. */
static double plain_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1) / (m + 1), square = s * s;
    double sum = 0;
    for (int k = 23; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * square;
    return e * 0.69314718055994530942 + 2 * (s + s * sum);
}

void cb_normal_pair(cb_random r, uint64_t index, double pair[2])
{
    uint32_t word[4];
    double u, v, s;
    uint64_t attempt = 0;
    do { /* a point in the unit disc; attempts lie 2^40 apart */
        cb_philox(r, index + (attempt++ << 40), word);
        u = 2 * unit(word[0], word[1]) - 1;
        v = 2 * unit(word[2], word[3]) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    const double length = sqrt(-2 * plain_log(s) / s);
    pair[0] = u * length;
    pair[1] = v * length;
}

void cb_normal(cb_random r, double *out, int64_t n)
{
    double pair[2];
    for (int64_t i = 0; i < n; i++) {
        cb_normal_pair(r, (uint64_t)i, pair);
        out[i] = pair[0];
    }
}
