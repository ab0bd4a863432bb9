/* Basis decoders on a grid, on a CPU: sum_k coefficient[c, k] * function_k(offset), where the functions are separable.
 *
 * A vector holds pixels. They read a group of at most LANES columns of cells, and each pixel picks the numbers of its own
 * cell from a vector that holds the group's.
 * Products, f_i(y) g_j(x): each cell's coefficients are first combined with the functions along y of BLOCK lines of output
 * pixels, which leaves J numbers per channel and line; a pixel is their product with the J functions along x. Some groups
 * are made from top to bottom, so that the second-level cache still holds a row of cells when the lines below read it as
 * well.
 * Waves, A_ck sin(a_k(y) + b_k(x) + phase_k): lines turn the sines and cosines of b_k + phase_k by a_k.
 *
 * Functions are computed beforehand, per axis, with the weights of the local ensemble and the way back to [0, 1] in them;
 * see basis.py. Everything is float32, but what is stored of the cells may be bfloat16.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "threads.h"
#include "vectors.h"

enum { STRIP = 16, MAX_SIDES = 2, MAX_PADDED = 128, MAX_CHANNELS = 4, MAX_SPAN = 48, LINE = 64 };
enum { BLOCK = 4, GROUPS = 64 / LANES, AHEAD = 4 }; /* of products: lines, groups at a time, cells to be fetched */
#if defined(__AVX512F__)
enum { TOGETHER = 4, RUN = 16 }; /* of waves: lines whose sums stay in registers; for which cells are turned once */
#else
enum { TOGETHER = 2, RUN = 16 };
#endif
enum { SHARES = 16, LEAST_LINES = 16 }; /* a thread's, and lines of one */
#define APART __attribute__((noinline)) /* inner loops: the compiler gives them all registers */

/* basis.py has the same fields in the same order. */
struct basis {
    int64_t waves;                   /* 1: waves; 0: products */
    int64_t narrow;                  /* rows are bfloat16 */
    int64_t batch, channels, sides;  /* sides: cells per axis of a pixel, 1 or 2 */
    int64_t functions, padded;       /* waves, or products' functions along either axis; and padded to whole vectors */
    int64_t ny, nx;
    int64_t cells, cells_x;
    int64_t pixels, pixels_x;        /* of the picture */
    int64_t limited;                 /* 1: values are limited to [0, 1] */
    int64_t out_picture, out_plane, out_line; /* numbers from one to the next */
    int64_t passes;                  /* 1: the result is larger than caches; what is written does not go through them */
    int64_t groups;                  /* of columns; find_groups() counts them, and fills the next four */
    int64_t *column, *first;         /* (sides * nx,), the groups' columns in turn; (nx + 1,), a group's first of these */
    int64_t *start;                  /* (nx + 1,), a group's first pixel */
    int32_t *nth;                    /* (sides, nx + LANES), which column of its group a pixel reads */
    const int64_t *cell_y, *cell_x;  /* (sides, ny), (sides, nx) */
    const float *along_y;            /* (sides, ny, functions); waves: angles */
    const float *along_x;            /* (sides, functions, nx + LANES); waves: angles */
    const float *factor;             /* waves: (functions,), of the waves; or NULL */
    float *turned;                   /* waves: (2, functions, nx + LANES), cosines and sines along x, times the factor */
    const void *rows;                /* (batch, cells, channels * functions^2); waves: ((1 + channels) * functions): the
                                        phases, then the amplitudes channel by channel */
    const float *picture;            /* (batch, pixels, channels), added; or NULL */
    const int64_t *pixel_y, *pixel_x; /* (2, ny), (2, nx) */
    const float *share_y, *share_x;
    const float *constant;           /* (channels,), added */
    float *out;                      /* (batch, channels, ny, nx), each line in one piece */
    union room *rooms;               /* one for each thread; stacks may be small */
};

/* Where the pixels of a strip read the picture. */
struct place {
    int64_t first_pixel, span;         /* of the picture's line, between which the strip's pixels lie */
    int32_t left[STRIP], right[STRIP]; /* numbers behind the first */
};

INLINE void place_picture(const struct basis *e, struct place *s, int64_t x0, int64_t count) {
    int64_t low = e->pixel_x[x0], high = low;
    for (int64_t x = x0; x < x0 + count; x++)
        for (int64_t t = 0; t < 2; t++) {
            const int64_t pixel = e->pixel_x[t * e->nx + x];
            low = pixel < low ? pixel : low, high = pixel > high ? pixel : high;
        }
    s->first_pixel = low, s->span = high - low + 1;
    for (int64_t p = 0; p < count; p++) {
        s->left[p] = (int32_t)((e->pixel_x[x0 + p] - low) * e->channels);
        s->right[p] = (int32_t)((e->pixel_x[e->nx + x0 + p] - low) * e->channels);
    }
}

/* Add the constant, and limit to [0, 1]; what is not a number stays. */
INLINE float ended(const struct basis *e, float value, float constant) {
    value += constant;
    return !e->limited ? value : value < 0 ? 0 : value > 1 ? 1 : value;
}

/* Add the picture at a strip's pixels of a line, and the constant, and limit the values. */
INLINE void end_strip(const struct basis *e, const struct place *s, int64_t b, int64_t y, int64_t x0, int64_t count,
                      float *out, const int64_t channels) {
    if (!e->picture) {
        for (int64_t c = 0; c < channels; c++, out += e->out_plane)
            for (int64_t x = 0; x < count; x++) out[x] = ended(e, out[x], e->constant[c]);
        return;
    }
    const float *picture = e->picture + (b * e->pixels + s->first_pixel) * channels;
    const float *low = picture + e->pixel_y[y] * e->pixels_x * channels;
    const float *high = picture + e->pixel_y[e->ny + y] * e->pixels_x * channels;
    const float p = e->share_y[y], q = e->share_y[e->ny + y];
    const float *l = e->share_x + x0, *r = e->share_x + e->nx + x0;
    if (s->span > MAX_SPAN) { /* a strip that is far smaller than the picture */
        for (int64_t c = 0; c < channels; c++, out += e->out_plane, low++, high++)
            for (int64_t x = 0; x < count; x++) {
                const float left = low[s->left[x]] * p + high[s->left[x]] * q;
                const float right = low[s->right[x]] * p + high[s->right[x]] * q;
                out[x] = ended(e, out[x] + (left * l[x] + right * r[x]), e->constant[c]);
            }
        return;
    }
    float blended[MAX_SPAN * MAX_CHANNELS + LANES]; /* the two lines of the picture */
    const int64_t n = s->span * channels;
    for (int64_t k = 0; k < n; k += LANES)
        *(vec *)(blended + k) = load_some(low + k, n - k) * splat(p) + load_some(high + k, n - k) * splat(q);
    for (int64_t c = 0; c < channels; c++, out += e->out_plane) {
        const float *line = blended + c, constant = e->constant[c];
        float added[STRIP];
        for (int64_t x = 0; x < count; x++) added[x] = line[s->left[x]] * l[x] + line[s->right[x]] * r[x];
        for (int64_t x = 0; x < count; x++) out[x] = ended(e, out[x] + added[x], constant);
    }
}

#if defined(__AVX512F__)
/* Those of three channels. */
INLINE void put_three(const struct basis *e, const struct place *s, int64_t b, int64_t y, int64_t x0, int64_t count,
                      const vec *value, float *out) {
    const __mmask16 there = (__mmask16)((1u << count) - 1);
    const int64_t span = e->picture ? s->span * 3 : 0;
    if (span > 2 * LANES) { /* the picture's lines do not fit in two registers */
        UNROLLED for (int c = 0; c < 3; c++) _mm512_mask_storeu_ps(out + c * e->out_plane, there, (__m512)value[c]);
        end_strip(e, s, b, y, x0, count, out, 3);
        return;
    }
    __m512 ended[3];
    UNROLLED for (int c = 0; c < 3; c++) ended[c] = _mm512_add_ps((__m512)value[c], _mm512_set1_ps(e->constant[c]));
    if (span) {
        const float *low = e->picture + (b * e->pixels + s->first_pixel) * 3, *high = low;
        low += e->pixel_y[y] * e->pixels_x * 3, high += e->pixel_y[e->ny + y] * e->pixels_x * 3;
        const vec p = splat(e->share_y[y]), q = splat(e->share_y[e->ny + y]);
        __m512 line[2];
        UNROLLED for (int k = 0; k < 2; k++)
            line[k] = (__m512)(load_some(low + k * LANES, span - k * LANES) * p +
                               load_some(high + k * LANES, span - k * LANES) * q);
        const __m512i left = _mm512_loadu_si512(s->left), right = _mm512_loadu_si512(s->right);
        const __m512 left_share = _mm512_maskz_loadu_ps(there, e->share_x + x0);
        const __m512 right_share = _mm512_maskz_loadu_ps(there, e->share_x + e->nx + x0);
        UNROLLED for (int c = 0; c < 3; c++) {
            const __m512i channel = _mm512_set1_epi32(c);
            __m512 l = _mm512_permutex2var_ps(line[0], _mm512_add_epi32(left, channel), line[1]);
            __m512 r = _mm512_permutex2var_ps(line[0], _mm512_add_epi32(right, channel), line[1]);
            ended[c] = _mm512_fmadd_ps(l, left_share, _mm512_fmadd_ps(r, right_share, ended[c]));
        }
    }
    UNROLLED for (int c = 0; c < 3; c++) {
        if (e->limited) /* the second operand is kept where either is not a number */
            ended[c] = _mm512_min_ps(_mm512_set1_ps(1), _mm512_max_ps(_mm512_setzero_ps(), ended[c]));
        float *to = out + c * e->out_plane;
        if (e->passes && there == 0xffff && !((uintptr_t)to & (LINE - 1))) _mm512_stream_ps(to, ended[c]);
        else _mm512_mask_storeu_ps(to, there, ended[c]);
    }
}
#endif

/* A strip's values to their planes, with the picture and the constant. */
static void put(const struct basis *e, const struct place *place, int64_t b, int64_t y, int64_t x0, int64_t count,
                const vec *values) {
    float *out = e->out + b * e->out_picture + y * e->out_line + x0;
#if defined(__AVX512F__)
    if (e->channels == 3) {
        put_three(e, place, b, y, x0, count, values, out);
        return;
    }
#endif
    for (int64_t c = 0; c < e->channels; c++) memcpy(out + c * e->out_plane, &values[c], count * sizeof(float));
    if (e->channels == 3) end_strip(e, place, b, y, x0, count, out, 3);
    else end_strip(e, place, b, y, x0, count, out, e->channels);
}

/* The end of the lines from y on, before last, that read the same cells. */
INLINE int64_t end_of_run(const struct basis *e, int64_t y, int64_t last) {
    int64_t end = y + 1;
    for (; end < last; end++)
        for (int64_t t = 0; t < e->sides; t++)
            if (e->cell_y[t * e->ny + end] != e->cell_y[t * e->ny + y]) return end;
    return end;
}

/* Part the pixels of a line into groups that read at most LANES columns of cells. */
static void find_groups(struct basis *e) {
    int64_t *column = e->column, from = 0, taken = 0;
    e->groups = 0, e->start[0] = e->first[0] = 0;
    for (int64_t x = 0; x < e->nx; x++) {
        const int64_t before = taken;
        for (int64_t t = 0; t < e->sides; t++) {
            const int64_t cell = e->cell_x[t * e->nx + x];
            int64_t k = taken - 1;
            while (k >= from && column[k] != cell) k--;
            if (k < from && taken - from == LANES) { /* no room: the pixel begins the next group */
                e->groups++, e->start[e->groups] = x, e->first[e->groups] = from = taken = before, t = -1;
                continue;
            }
            if (k < from) k = taken++, column[k] = cell;
            e->nth[t * (e->nx + LANES) + x] = (int32_t)(k - from);
        }
    }
    e->groups++, e->start[e->groups] = e->nx, e->first[e->groups] = taken;
}

/* ---- both ---- */

INLINE vec pick(vec from, ints which) {
#if defined(__AVX512F__)
    return (vec)_mm512_permutexvar_ps((__m512i)which, (__m512)from);
#elif defined(__AVX2__)
    return (vec)_mm256_permutevar8x32_ps((__m256)from, (__m256i)which);
#else
    vec picked;
    UNROLLED for (int i = 0; i < LANES; i++) picked[i] = from[which[i]];
    return picked;
#endif
}

/* Four numbers from each of LANES rows, with rows and columns exchanged: four vectors, stride numbers apart. */
INLINE void turn(const float *const *rows, int64_t from, float *to, int64_t stride) {
#if defined(__AVX512F__)
    __m512 z[4];
    UNROLLED for (int i = 0; i < 4; i++) { /* row i, and those four, eight and twelve below it */
        z[i] = _mm512_castps128_ps512(_mm_loadu_ps(rows[i] + from));
        z[i] = _mm512_insertf32x4(z[i], _mm_loadu_ps(rows[i + 4] + from), 1);
        z[i] = _mm512_insertf32x4(z[i], _mm_loadu_ps(rows[i + 8] + from), 2);
        z[i] = _mm512_insertf32x4(z[i], _mm_loadu_ps(rows[i + 12] + from), 3);
    }
    const __m512d ab = (__m512d)_mm512_unpacklo_ps(z[0], z[1]), cd = (__m512d)_mm512_unpacklo_ps(z[2], z[3]);
    const __m512d ef = (__m512d)_mm512_unpackhi_ps(z[0], z[1]), gh = (__m512d)_mm512_unpackhi_ps(z[2], z[3]);
    *(vec *)to = (vec)_mm512_unpacklo_pd(ab, cd), *(vec *)(to + stride) = (vec)_mm512_unpackhi_pd(ab, cd);
    *(vec *)(to + 2 * stride) = (vec)_mm512_unpacklo_pd(ef, gh), *(vec *)(to + 3 * stride) = (vec)_mm512_unpackhi_pd(ef, gh);
#else
    UNROLLED for (int i = 0; i < LANES; i += 4) {
        four a[4];
        UNROLLED for (int k = 0; k < 4; k++) a[k] = *(const four *)(rows[i + k] + from);
        const four ab = SHUFFLE(a[0], a[1], 0, 4, 1, 5), cd = SHUFFLE(a[2], a[3], 0, 4, 1, 5);
        const four ef = SHUFFLE(a[0], a[1], 2, 6, 3, 7), gh = SHUFFLE(a[2], a[3], 2, 6, 3, 7);
        *(four *)(to + i) = SHUFFLE(ab, cd, 0, 1, 4, 5), *(four *)(to + stride + i) = SHUFFLE(ab, cd, 2, 3, 6, 7);
        *(four *)(to + 2 * stride + i) = SHUFFLE(ef, gh, 0, 1, 4, 5);
        *(four *)(to + 3 * stride + i) = SHUFFLE(ef, gh, 2, 3, 6, 7);
    }
#endif
}

/* ---- products ---- */

struct products {
    float made[LANES * (BLOCK * MAX_CHANNELS * MAX_PADDED + LANES)]; /* (cells, lines, channels, padded) */
    vec joined[MAX_PADDED * BLOCK * MAX_CHANNELS];                   /* (padded, lines, channels), of a group's cells */
    float lifts[MAX_SIDES * MAX_PADDED * BLOCK];                     /* (sides, functions, lines), along y */
};

/* Numbers from cell to cell in what is made; never whole pages, which would share few lines of the cache. */
INLINE int64_t apart(const struct basis *e) { return BLOCK * e->channels * e->padded + LANES; }

/* A cell's coefficients of some channels with the functions along y of some lines: LANES functions along x, of which left
 * are there. A coefficient is loaded once for all lines; channels are made at once, or the sums would wait for themselves.
 */
INLINE void join(const struct basis *e, const int64_t *rows, int64_t from, int64_t left, const float *lifts, float *to,
                 const int lines, const int channels, const int narrow) {
    const int64_t n = e->functions, ahead = AHEAD * e->channels * n * n, line = e->channels * e->padded;
    vec total[MAX_CHANNELS][BLOCK];
    UNROLLED for (int c = 0; c < channels; c++)
        UNROLLED for (int l = 0; l < lines; l++) total[c][l] = (vec){0};
    for (int64_t t = 0; t < e->sides; t++) {
        const char *row = (const char *)e->rows + (rows[t] + from) * (narrow ? 2 : 4);
        for (int64_t i = 0; i < n; i++, row += n * (narrow ? 2 : 4), lifts += lines)
            UNROLLED for (int c = 0; c < channels; c++) {
                const char *own = row + c * n * n * (narrow ? 2 : 4);
                __builtin_prefetch(own + ahead * (narrow ? 2 : 4), 0, 2); /* behind the last cell: no matter */
                const vec one = narrow ? load_narrow((const uint16_t *)own, left) : load_some((const float *)own, left);
                UNROLLED for (int l = 0; l < lines; l++) total[c][l] += splat(lifts[l]) * one;
            }
    }
    UNROLLED for (int l = 0; l < lines; l++)
        UNROLLED for (int c = 0; c < channels; c++) *(vec *)(to + l * line + c * e->padded) = total[c][l];
}

#define FOR_LINES(lines, call)                                                                                         \
    switch (lines) {                                                                                                   \
    case 1: call(1); break;                                                                                            \
    case 2: call(2); break;                                                                                            \
    case 3: call(3); break;                                                                                            \
    default: call(4);                                                                                                  \
    }

/* A cell's coefficients for some lines, (lines, channels, padded); rows: where they begin, on either side. */
#define JOINED(lines)                                                                                                  \
    static APART void join_##lines(const struct basis *e, const int64_t *rows, const float *lifts, float *to) {        \
        const int64_t n = e->functions;                                                                                \
        for (int64_t k = 0; k < n; k += LANES)                                                                         \
            if (e->channels == 3 && e->narrow) join(e, rows, k, n - k, lifts, to + k, lines, 3, 1);                    \
            else if (e->channels == 3) join(e, rows, k, n - k, lifts, to + k, lines, 3, 0);                            \
            else                                                                                                       \
                for (int64_t c = 0; c < e->channels; c++) {                                                            \
                    float *own = to + c * e->padded + k;                                                               \
                    if (e->narrow) join(e, rows, c * n * n + k, n - k, lifts, own, lines, 1, 1);                       \
                    else join(e, rows, c * n * n + k, n - k, lifts, own, lines, 1, 0);                                 \
                }                                                                                                      \
    }
JOINED(1) JOINED(2) JOINED(3) JOINED(4)

/* A group's cells for some lines. */
static void join_group(const struct basis *e, struct products *s, int64_t b, int64_t y, int64_t lines, int64_t group) {
    const int64_t n = e->functions, each = e->channels * n * n, count = e->first[group + 1] - e->first[group];
    const float *made[LANES];
    for (int64_t i = 0; i < LANES; i++) {
        float *to = s->made + (i < count ? i : 0) * apart(e);
        int64_t rows[MAX_SIDES];
        made[i] = to;
        if (i >= count) continue; /* no pixel reads it */
        for (int64_t t = 0; t < e->sides; t++)
            rows[t] = (b * e->cells + e->cell_y[t * e->ny + y] * e->cells_x + e->column[e->first[group] + i]) * each;
#define JOIN(lines) join_##lines(e, rows, s->lifts, to)
        FOR_LINES(lines, JOIN)
    }
    const int64_t all = lines * e->channels;
    for (int64_t of = 0; of < all; of++)
        for (int64_t k = 0; k < n; k += 4) turn(made, of * e->padded + k, (float *)(s->joined + k * all + of), all * LANES);
}

/* LANES pixels of some lines, of some of the channels; which: their cells on either side, in the group. */
INLINE void sum_products(const struct basis *e, const vec *joined, const ints *which, int64_t x0, vec *to, const int lines,
                         const int channels) {
    const int64_t next = e->nx + LANES, all = lines * e->channels;
    vec acc[BLOCK][MAX_CHANNELS];
    UNROLLED for (int l = 0; l < lines; l++)
        UNROLLED for (int c = 0; c < channels; c++) acc[l][c] = (vec){0};
    for (int64_t t = 0; t < e->sides; t++) {
        const float *along = e->along_x + t * e->functions * next + x0;
        const ints own = which[t];
        const vec *of = joined;
        for (int64_t k = 0; k < e->functions; k++, along += next, of += all) {
            const vec each = load(along);
            UNROLLED for (int l = 0; l < lines; l++)
                UNROLLED for (int c = 0; c < channels; c++)
                    acc[l][c] += pick(of[l * (channels == 1 ? e->channels : channels) + c], own) * each;
        }
    }
    UNROLLED for (int l = 0; l < lines; l++)
        UNROLLED for (int c = 0; c < channels; c++) to[l * MAX_CHANNELS + c] = acc[l][c];
}

#define SUMS_OF_PRODUCTS(lines)                                                                                        \
    static APART void products_##lines(const struct basis *e, const vec *joined, const ints *which, int64_t x0, vec *to) { \
        if (e->channels == 3) sum_products(e, joined, which, x0, to, lines, 3);                                        \
        else                                                                                                           \
            for (int64_t c = 0; c < e->channels; c++) sum_products(e, joined + c, which, x0, to + c, lines, 1);        \
    }
SUMS_OF_PRODUCTS(1) SUMS_OF_PRODUCTS(2) SUMS_OF_PRODUCTS(3) SUMS_OF_PRODUCTS(4)

static void strip_of_products(const struct basis *e, const vec *joined, int64_t b, int64_t y, int64_t lines, int64_t x0,
                              int64_t count) {
    vec sums[BLOCK * MAX_CHANNELS];
    struct place place = {0};
    ints which[MAX_SIDES];
    for (int64_t t = 0; t < e->sides; t++) which[t] = *(const ints *)(e->nth + t * (e->nx + LANES) + x0) & (LANES - 1);
    if (e->picture) place_picture(e, &place, x0, count);
#define PRODUCTS(lines) products_##lines(e, joined, which, x0, sums)
    FOR_LINES(lines, PRODUCTS)
    for (int64_t l = 0; l < lines; l++) put(e, &place, b, y + l, x0, count, sums + l * MAX_CHANNELS);
}

static void lines_of_products(const struct basis *e, struct products *s, int64_t b, int64_t first, int64_t last) {
    for (int64_t from = 0; from < e->groups; from += GROUPS) {
        const int64_t to = e->groups - from < GROUPS ? e->groups : from + GROUPS;
        for (int64_t y = first, end; y < last; y = end) {
            end = end_of_run(e, y, last < y + BLOCK ? last : y + BLOCK);
            for (int64_t t = 0; t < e->sides; t++)
                for (int64_t i = 0; i < e->functions; i++)
                    for (int64_t l = 0; l < end - y; l++)
                        s->lifts[(t * e->functions + i) * (end - y) + l] =
                            e->along_y[(t * e->ny + y + l) * e->functions + i];
            for (int64_t group = from; group < to; group++) {
                join_group(e, s, b, y, end - y, group);
                const int64_t right = e->start[group + 1];
                for (int64_t x = e->start[group]; x < right; x += LANES)
                    strip_of_products(e, s->joined, b, y, end - y, x, right - x < LANES ? right - x : LANES);
            }
        }
    }
}

/* ---- waves ---- */

/* A wave of LANES cells. */
struct turned {
    vec sine, cosine, amplitude[MAX_CHANNELS];
};

/* Up to LANES cells of line y; behind the last, it is repeated. */
INLINE void turn_cells(const struct basis *e, int64_t b, int64_t y, const int64_t *columns, int64_t count, struct turned *to) {
    const int64_t n = e->functions, each = (1 + e->channels) * n, line = b * e->cells + e->cell_y[y] * e->cells_x;
    const int64_t stride = sizeof(struct turned) / sizeof(float);
    const int direct = !e->narrow && n % LANES == 0;
    float copied[LANES][LANES];
    const float *rows[LANES];
    int64_t at[LANES];
    for (int64_t i = 0; i < LANES; i++) {
        at[i] = (line + columns[i < count ? i : count - 1]) * each;
        rows[i] = direct ? (const float *)e->rows + at[i] : copied[i];
    }
    for (int64_t part = 0; part < 1 + e->channels; part++)
        for (int64_t k = 0; k < n; k += LANES) {
            const int64_t from = part * n + k;
            for (int64_t i = 0; i < LANES && !direct; i++)
                *(vec *)copied[i] = e->narrow ? load_narrow((const uint16_t *)e->rows + at[i] + from, n - k)
                                              : load_some((const float *)e->rows + at[i] + from, n - k);
            float *own = (float *)(part ? &to[k].amplitude[part - 1] : &to[k].sine);
            UNROLLED for (int j = 0; j < LANES; j += 4) turn(rows, direct ? from + j : j, own + j * stride, stride);
        }
    for (int64_t k = 0; k < n; k++) sine_and_cosine(to[k].sine, &to[k].sine, &to[k].cosine);
}

/* What is to be fetched meanwhile: two lines of the cache with each wave, so many bytes on; 0: the same again, at
 * no cost. */
struct fetched {
    const char *at;
    int64_t each;
};

/* The cosines and sines along x. */
static void turn_columns(const struct basis *e) {
    const int64_t next = e->nx + LANES;
    for (int64_t k = 0; k < e->functions; k++)
        for (int64_t x = 0; x < e->nx; x += LANES) {
            const vec factor = splat(e->factor ? e->factor[k] : 1);
            vec sine, cosine;
            sine_and_cosine(load(e->along_x + k * next + x), &sine, &cosine);
            *(vec *)(e->turned + k * next + x) = cosine * factor;
            *(vec *)(e->turned + (e->functions + k) * next + x) = sine * factor;
        }
}

/* LANES pixels of some lines; which: their cells among those turned; lifts: (functions, lines, 2), the lines' cosines and
 * sines. */
INLINE void sum_waves(const struct basis *e, const struct turned *cells, ints which, int64_t x0, const float *lifts,
                      struct fetched ahead, vec *to, const int lines, const int channels) {
    const int64_t n = e->functions, next = e->nx + LANES;
    const float *along = e->turned + x0;
    vec acc[TOGETHER][MAX_CHANNELS];
    UNROLLED for (int l = 0; l < lines; l++)
        UNROLLED for (int c = 0; c < channels; c++) acc[l][c] = (vec){0};
    for (int64_t k = 0; k < n; k++, cells++, along += next, lifts += 2 * lines, ahead.at += ahead.each) {
        __builtin_prefetch(ahead.at);
        const vec sine = pick(cells->sine, which), cosine = pick(cells->cosine, which);
        const vec x = load(along), z = load(along + n * next);
        const vec s = sine * x + cosine * z, t = cosine * x - sine * z;
        vec amplitude[MAX_CHANNELS];
        UNROLLED for (int c = 0; c < channels; c++) amplitude[c] = pick(cells->amplitude[c], which);
        UNROLLED for (int l = 0; l < lines; l++) {
            const vec wave = s * splat(lifts[2 * l]) + t * splat(lifts[2 * l + 1]);
            UNROLLED for (int c = 0; c < channels; c++) acc[l][c] += wave * amplitude[c];
        }
    }
    UNROLLED for (int l = 0; l < lines; l++)
        UNROLLED for (int c = 0; c < channels; c++) to[l * MAX_CHANNELS + c] = acc[l][c];
}

#define SUMS_OF_WAVES(name, lines, channels)                                                                           \
    static APART void name##_##channels(const struct basis *e, const struct turned *cells, ints which, int64_t x0,  \
                                           const float *lifts, struct fetched ahead, vec *to) {                        \
        sum_waves(e, cells, which, x0, lifts, ahead, to, lines, channels);                                             \
    }
SUMS_OF_WAVES(alone, 1, 1) SUMS_OF_WAVES(together, TOGETHER, 1)
SUMS_OF_WAVES(alone, 1, 2) SUMS_OF_WAVES(together, TOGETHER, 2)
SUMS_OF_WAVES(alone, 1, 3) SUMS_OF_WAVES(together, TOGETHER, 3)
SUMS_OF_WAVES(alone, 1, 4) SUMS_OF_WAVES(together, TOGETHER, 4)

static void (*const waves_of[2][MAX_CHANNELS])(const struct basis *, const struct turned *, ints, int64_t, const float *,
                                               struct fetched, vec *) = {
    {alone_1, alone_2, alone_3, alone_4},
    {together_1, together_2, together_3, together_4},
};

struct waves {
    struct turned cells[MAX_PADDED];
    float lifts[RUN * MAX_PADDED * 2]; /* of some lines after the other, as sum_waves() reads them */
};

/* How many of the lines are made at once. */
INLINE int64_t at_once(int64_t lines) { return lines >= TOGETHER ? TOGETHER : 1; }

static void strip_of_waves(const struct basis *e, const struct waves *s, int64_t b, int64_t y, int64_t end, int64_t x0,
                           int64_t count, struct fetched ahead) {
    const ints which = *(const ints *)(e->nth + x0) & (LANES - 1);
    const float *lifts = s->lifts;
    struct place place = {0};
    if (e->picture) place_picture(e, &place, x0, count);
    for (int64_t lines; y < end; y += lines, lifts += lines * e->functions * 2, ahead.each = 0) {
        vec sums[TOGETHER * MAX_CHANNELS];
        lines = at_once(end - y);
        waves_of[lines > 1][e->channels - 1](e, s->cells, which, x0, lifts, ahead, sums);
        for (int64_t l = 0; l < lines; l++) put(e, &place, b, y + l, x0, count, sums + l * MAX_CHANNELS);
    }
}

/* What some lines are turned by. */
static void lift(const struct basis *e, float *to, int64_t y, int64_t end) {
    for (int64_t lines; y < end; y += lines) {
        lines = at_once(end - y);
        for (int64_t l = 0; l < lines; l++)
            for (int64_t k = 0; k < e->functions; k += LANES) {
                const int64_t left = e->functions - k < LANES ? e->functions - k : LANES;
                vec sine, cosine;
                sine_and_cosine(load_some(e->along_y + (y + l) * e->functions + k, left), &sine, &cosine);
                for (int64_t i = 0; i < left; i++) {
                    float *own = to + ((k + i) * lines + l) * 2;
                    own[0] = cosine[i], own[1] = sine[i];
                }
            }
        to += lines * e->functions * 2;
    }
}

static void lines_of_waves(const struct basis *e, struct waves *s, int64_t b, int64_t first, int64_t last) {
    const int64_t bytes = (1 + e->channels) * e->functions * (e->narrow ? 2 : 4); /* of a cell */
    for (int64_t y = first, end; y < last; y = end) {
        end = end_of_run(e, y, last < y + RUN ? last : y + RUN);
        lift(e, s->lifts, y, end);
        const char *line = (const char *)e->rows + (b * e->cells + e->cell_y[y] * e->cells_x) * bytes;
        for (int64_t group = 0; group < e->groups; group++) {
            const int64_t *columns = e->column + e->first[group], taken = e->first[group + 1] - e->first[group];
            turn_cells(e, b, y, columns, taken, s->cells);
            const char *next = line + (columns[taken - 1] + 1) * bytes; /* behind the last: no matter */
            const int64_t left = e->start[group], right = e->start[group + 1], share = LINE * e->functions;
            for (int64_t x = left, fetched = 0; x < right; x += LANES, fetched += share) {
                const struct fetched ahead = {next + fetched, fetched < taken * bytes ? LINE : 0};
                strip_of_waves(e, s, b, y, end, x, right - x < LANES ? right - x : LANES, ahead);
            }
        }
    }
}

/* ---- either ---- */

struct work {
    const struct basis *e;
    int64_t lines, shares; /* of a share; of the whole */
    atomic_llong next;     /* share to be taken: a thread that is held up leaves the rest to the others */
    atomic_llong seated;   /* threads that have a room */
};

union room {
    struct products products;
    struct waves waves;
};
_Static_assert(sizeof(union room) % LINE == 0, "or the vectors of the next room would lie in two lines of the cache each");

static void take_shares(void *argument) {
    struct work *work = argument;
    const struct basis *e = work->e;
    const int64_t of_a_picture = work->shares / e->batch;
    union room *room = e->rooms + atomic_fetch_add(&work->seated, 1);
    for (int64_t taken; (taken = atomic_fetch_add(&work->next, 1)) < work->shares;) {
        const int64_t first = taken % of_a_picture * work->lines, end = first + work->lines;
        const int64_t b = taken / of_a_picture, last = end < e->ny ? end : e->ny;
        if (e->waves) lines_of_waves(e, &room->waves, b, first, last);
        else lines_of_products(e, &room->products, b, first, last);
    }
#if defined(__AVX512F__)
    _mm_sfence(); /* what did not go through caches is there before others are told */
#endif
}

void run(struct basis *e, int64_t threads) {
    find_groups(e);
    if (e->waves) turn_columns(e);
    int64_t lines = (e->ny + SHARES * threads - 1) / (SHARES * threads);
    lines = (lines + LEAST_LINES - 1) / LEAST_LINES * LEAST_LINES; /* at many magnifications, whole rows of cells */
    struct work work = {e, lines, (e->ny + lines - 1) / lines * e->batch, 0, 0};
    in_parallel(take_shares, &work, threads < work.shares ? threads : work.shares);
}

/* What the caller has to know: the lanes, the most functions (padded), the most channels, the sizes of the struct and of a
 * room. */
void about(int64_t *answer) {
    answer[0] = LANES, answer[1] = MAX_PADDED, answer[2] = MAX_CHANNELS;
    answer[3] = sizeof(struct basis), answer[4] = sizeof(union room);
}
