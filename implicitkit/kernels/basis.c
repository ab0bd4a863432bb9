/* Basis decoders on a grid, on a CPU: sum_k coefficient[c, k] * function_k(offset), where the functions are separable.
 *
 * Products, f_i(y) g_j(x): a cell's coefficients are first combined with the functions along y of one line of output
 * pixels, which leaves J numbers per channel; a pixel is their product with the J functions along x.
 * Waves, A_ck sin(a_k(y) + b_k(x) + phase_k): the sines and cosines of a_k + phase_k belong to a cell and a line, and a
 * pixel turns them by b_k.
 *
 * What belongs to the cells of a strip of pixels stays in the first-level cache while all lines of a row of cells are
 * made. Functions are computed beforehand, per axis, with the weights of the local ensemble in them; see basis.py.
 * Everything is float32.
 */
#include <stdint.h>
#include <string.h>

#include "vectors.h"

enum { STRIP = 16, GROUP = 4, MAX_SIDES = 2, MAX_PADDED = 128, MAX_CHANNELS = 4, MAX_SPAN = 48, AHEAD = 6, LINE = 64 };

typedef float four __attribute__((vector_size(16), UNALIGNED));
typedef int32_t four_ints __attribute__((vector_size(16)));
#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_ints){i, j, k, l})
#endif

/* basis.py has the same fields in the same order. */
struct basis {
    int64_t waves;                   /* 1: waves; 0: products */
    int64_t narrow;                  /* rows are bfloat16 (waves' alone) */
    int64_t batch, channels, sides;  /* sides: cells per axis of a pixel, 1 or 2 */
    int64_t functions, padded;       /* waves, or products' functions along either axis; and padded to whole vectors */
    int64_t ny, nx, first, last;     /* of the whole grid; the lines to make */
    int64_t cells, cells_x;
    int64_t pixels, pixels_x;        /* of the picture */
    const int64_t *cell_y, *cell_x;  /* (sides, ny), (sides, nx) */
    const float *along_y;            /* (sides, ny, padded); waves: (1, ny, 2, padded), cosines and sines */
    const float *along_x;            /* likewise */
    const void *rows;                /* (batch, cells, channels * functions^2); waves: ((1 + channels) * functions): the
                                        phases, then the amplitudes channel by channel */
    const float *picture;            /* (batch, pixels, channels), added; or NULL */
    const int64_t *pixel_y, *pixel_x; /* (2, ny), (2, nx) */
    const float *share_y, *share_x;
    const float *constant;           /* (channels,) */
    float *out;                      /* (batch, channels, ny, nx) */
};

/* The first of n numbers; zeros behind the last, which is not read. */
INLINE vec load_some(const float *p, int64_t n) {
    if (n >= LANES) return load(p);
    if (n <= 0) return (vec){0};
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (vec)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes));
#else
    vec v = {0};
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

/* The sums of four vectors. */
INLINE four sums(vec a, vec b, vec c, vec d) {
#if defined(__AVX2__)
    four x[4];
    vec all[4] = {a, b, c, d};
    UNROLLED for (int i = 0; i < 4; i++) {
#if defined(__AVX512F__)
        __m256 half = _mm256_add_ps(_mm512_castps512_ps256((__m512)all[i]),
                                    _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd((__m512)all[i]), 1)));
#else
        __m256 half = (__m256)all[i];
#endif
        x[i] = (four)_mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
#else
    four x[4] = {a, b, c, d};
#endif
#define HALVES(a, b) (SHUFFLE(a, b, 0, 4, 1, 5) + SHUFFLE(a, b, 2, 6, 3, 7))
    four ab = HALVES(x[0], x[1]), cd = HALVES(x[2], x[3]);
    return SHUFFLE(ab, cd, 0, 1, 4, 5) + SHUFFLE(ab, cd, 2, 3, 6, 7);
}

#if defined(__AVX512F__)
/* The sums of three channels' vectors of four pixels: {pixel 0's three, one more number, pixel 1's three, ...}. */
INLINE vec sums_of_pixels(vec acc[MAX_CHANNELS][GROUP]) {
    __m512 of[3];
    UNROLLED for (int c = 0; c < 3; c++) { /* a quarter of the register for each pixel */
        __m512 a = (__m512)acc[c][0], b = (__m512)acc[c][1], d = (__m512)acc[c][2], f = (__m512)acc[c][3];
        __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        __m512 df = _mm512_add_ps(_mm512_shuffle_f32x4(d, f, 0x44), _mm512_shuffle_f32x4(d, f, 0xee));
        of[c] = _mm512_add_ps(_mm512_shuffle_f32x4(ab, df, 0x88), _mm512_shuffle_f32x4(ab, df, 0xdd));
    }
    __m512 two = _mm512_add_ps(_mm512_shuffle_ps(of[0], of[1], 0x88), _mm512_shuffle_ps(of[0], of[1], 0xdd));
    __m512 third = _mm512_add_ps(_mm512_shuffle_ps(of[2], of[2], 0x88), _mm512_shuffle_ps(of[2], of[2], 0xdd));
    return (vec)_mm512_add_ps(_mm512_shuffle_ps(two, third, 0x88), _mm512_shuffle_ps(two, third, 0xdd));
}
#endif

/* A cell as waves are made of it: the sines and cosines of its phases, and its amplitudes, each padded. */
INLINE void open_cell(const struct basis *e, int64_t cell, float *to) {
    const int64_t n = e->functions, padded = e->padded, each = (1 + e->channels) * n, size = e->narrow ? 2 : 4;
    const char *row = (const char *)e->rows + cell * each * size, *ahead = row + AHEAD * each * size;
    for (int64_t i = 0; i < each * size; i += LINE) __builtin_prefetch(ahead + i); /* may be behind the last: no matter */
    for (int64_t part = 0; part < 1 + e->channels; part++)
        for (int64_t k = 0; k < padded; k += LANES) {
            const int64_t at = part * n + k;
            const vec x = e->narrow ? load_narrow((const uint16_t *)row + at, n - k)
                                    : load_some((const float *)row + at, n - k);
            if (part) *(vec *)(to + (1 + part) * padded + k) = x;
            else sine_and_cosine(x, (vec *)(to + k), (vec *)(to + padded + k));
        }
}

/* A cell's coefficients with the functions along y of one line: (channels, padded). */
INLINE void join(const struct basis *e, const float *row, const float *along, float *to) {
    const int64_t n = e->functions;
    for (int64_t c = 0; c < e->channels; c++, row += n * n, to += e->padded)
        for (int64_t k = 0; k < e->padded; k += LANES) {
            vec total = {0};
            for (int64_t i = 0; i < n; i++) total += splat(along[i]) * load_some(row + i * n + k, n - k);
            *(vec *)(to + k) = total;
        }
}

/* Write the sums of a group's pixels; with AVX-512 those of three channels pixel by pixel, for spread(). */
INLINE void finish(vec acc[MAX_CHANNELS][GROUP], float *out, int64_t plane, const int pixels, const int channels) {
#if defined(__AVX512F__)
    if (channels == 3) {
        *(vec *)out = sums_of_pixels(acc);
        return;
    }
#endif
    UNROLLED for (int c = 0; c < channels; c++) {
        four values = sums(acc[c][0], acc[c][1], acc[c][2], acc[c][3]);
        if (pixels == GROUP) *(four *)(out + c * plane) = values;
        else
            UNROLLED for (int p = 0; p < pixels; p++) out[c * plane + p] = values[p];
    }
}

/* Up to GROUP pixels of a line that read the same cells, several channels at once: few numbers are loaded twice. */
INLINE void products(const float *const *own, const float *const *along, int64_t sides, int64_t n, float *out,
                     int64_t plane, const int pixels, const int channels) {
    vec acc[MAX_CHANNELS][GROUP] = {{{0}}};
    for (int64_t s = 0; s < sides; s++, along += STRIP)
        for (int64_t k = 0; k < n; k += LANES) {
            vec joined[MAX_CHANNELS];
            UNROLLED for (int c = 0; c < channels; c++) joined[c] = load(own[s] + c * n + k);
            UNROLLED for (int p = 0; p < pixels; p++) {
                vec each = load(along[p] + k);
                UNROLLED for (int c = 0; c < channels; c++) acc[c][p] += joined[c] * each;
            }
        }
    finish(acc, out, plane, pixels, channels);
}

INLINE void waves(const float *cell, const float *lift, const float *const *along, int64_t n, float *out,
                  const float *amplitude, int64_t plane, const int pixels, const int channels) {
    vec acc[MAX_CHANNELS][GROUP] = {{{0}}};
    for (int64_t k = 0; k < n; k += LANES) {
        vec sine = load(cell + k), cosine = load(cell + n + k), turn = load(lift + k), rise = load(lift + n + k);
        vec s = sine * turn + cosine * rise, c = cosine * turn - sine * rise;
        UNROLLED for (int p = 0; p < pixels; p++) {
            vec wave = s * load(along[p] + k) + c * load(along[p] + n + k);
            UNROLLED for (int i = 0; i < channels; i++) acc[i][p] += wave * load(amplitude + i * n + k);
        }
    }
    finish(acc, out, plane, pixels, channels);
}

#define FOR_COUNT(pixels, call)                                                                                        \
    switch (pixels) {                                                                                                  \
    case 1: call(1); break;                                                                                            \
    case 2: call(2); break;                                                                                            \
    case 3: call(3); break;                                                                                            \
    default: call(4);                                                                                                  \
    }

struct strip {
    float kept[MAX_SIDES * STRIP * ((2 + MAX_CHANNELS) * MAX_PADDED + LANES)]; /* of each cell */
    const float *of[MAX_SIDES * STRIP];    /* of a side's pixels, in kept */
    const float *along[MAX_SIDES * STRIP]; /* in along_x */
    int64_t cell[MAX_SIDES * STRIP];       /* that is kept: its column */
    int64_t first_pixel, span;             /* of the picture's line, between which the strip's pixels lie */
    int32_t left[STRIP], right[STRIP];     /* numbers behind the first */
    float line[MAX_SPAN * MAX_CHANNELS + LANES]; /* the two lines of the picture, blended */
    float made[4 * (STRIP + GROUP)];             /* three channels of the strip's pixels, side by side */
};

/* Numbers from cell to cell in a strip; never whole pages, which would share few lines of the cache. */
INLINE int64_t apart(const struct basis *e) { return (e->channels + 2 * e->waves) * e->padded + LANES; }

/* The part of the picture's lines that a strip reads. */
INLINE void place_picture(const struct basis *e, struct strip *s, int64_t x0, int64_t count) {
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

/* Add the picture at a strip's pixels of a line, and the constant. */
INLINE void add_picture(const struct basis *e, struct strip *s, int64_t b, int64_t y, int64_t x0, int64_t count, float *out,
                        const int64_t channels) {
    const float *picture = e->picture + (b * e->pixels + s->first_pixel) * channels;
    const float *low = picture + e->pixel_y[y] * e->pixels_x * channels;
    const float *high = picture + e->pixel_y[e->ny + y] * e->pixels_x * channels;
    const float p = e->share_y[y], q = e->share_y[e->ny + y];
    const float *l = e->share_x + x0, *r = e->share_x + e->nx + x0;
    if (s->span > MAX_SPAN) { /* a strip that is far smaller than the picture */
        for (int64_t c = 0; c < channels; c++, out += e->ny * e->nx, low++, high++)
            for (int64_t x = 0; x < count; x++)
                out[x] += (low[s->left[x]] * p + high[s->left[x]] * q) * l[x] +
                          (low[s->right[x]] * p + high[s->right[x]] * q) * r[x] + e->constant[c];
        return;
    }
    const int64_t n = s->span * channels;
    for (int64_t k = 0; k < n; k += LANES)
        *(vec *)(s->line + k) = load_some(low + k, n - k) * splat(p) + load_some(high + k, n - k) * splat(q);
    for (int64_t c = 0; c < channels; c++, out += e->ny * e->nx) {
        const float *line = s->line + c, constant = e->constant[c];
        float added[STRIP];
        for (int64_t x = 0; x < count; x++) added[x] = line[s->left[x]] * l[x] + line[s->right[x]] * r[x] + constant;
        for (int64_t x = 0; x < count; x++) out[x] += added[x];
    }
}

#if defined(__AVX512F__)
/* The strip's three channels to their planes, with the picture and the constant. */
INLINE void spread(const struct basis *e, struct strip *s, int64_t b, int64_t y, int64_t x0, int64_t count, float *out) {
    const __mmask16 there = (__mmask16)((1u << count) - 1);
    const int64_t span = e->picture ? s->span * 3 : 0;
    const int together = span <= 2 * LANES; /* the picture's lines are in two registers */
    __m512 line[2], left_share, right_share;
    __m512i left, right;
    if (e->picture && together) {
        const float *low = e->picture + (b * e->pixels + s->first_pixel) * 3, *high = low;
        low += e->pixel_y[y] * e->pixels_x * 3, high += e->pixel_y[e->ny + y] * e->pixels_x * 3;
        const vec p = splat(e->share_y[y]), q = splat(e->share_y[e->ny + y]);
        UNROLLED for (int k = 0; k < 2; k++)
            line[k] = (__m512)(load_some(low + k * LANES, span - k * LANES) * p +
                               load_some(high + k * LANES, span - k * LANES) * q);
        left = _mm512_loadu_si512(s->left), right = _mm512_loadu_si512(s->right);
        left_share = _mm512_maskz_loadu_ps(there, e->share_x + x0);
        right_share = _mm512_maskz_loadu_ps(there, e->share_x + e->nx + x0);
    }
    const __m512i every_fourth = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    UNROLLED for (int c = 0; c < 3; c++) {
        const __m512i which = _mm512_add_epi32(every_fourth, _mm512_set1_epi32(c));
        __m512 half = _mm512_permutex2var_ps((__m512)load(s->made), which, (__m512)load(s->made + LANES));
        __m512 rest = _mm512_permutex2var_ps((__m512)load(s->made + 2 * LANES), which, (__m512)load(s->made + 3 * LANES));
        __m512 value = _mm512_mask_blend_ps(0xff00, half, rest);
        if (e->picture && together) {
            const __m512i channel = _mm512_set1_epi32(c);
            __m512 l = _mm512_permutex2var_ps(line[0], _mm512_add_epi32(left, channel), line[1]);
            __m512 r = _mm512_permutex2var_ps(line[0], _mm512_add_epi32(right, channel), line[1]);
            value = _mm512_add_ps(value, _mm512_add_ps(_mm512_fmadd_ps(l, left_share, _mm512_mul_ps(r, right_share)),
                                                       _mm512_set1_ps(e->constant[c])));
        }
        _mm512_mask_storeu_ps(out + c * e->ny * e->nx, there, value);
    }
    if (e->picture && !together) add_picture(e, s, b, y, x0, count, out, 3);
}
#endif

/* What a strip keeps of its cells, for waves at its first line, for products at every line. */
INLINE void keep(const struct basis *e, struct strip *s, int64_t b, int64_t y, const int64_t distinct) {
    const int64_t each = e->channels * e->functions * e->functions;
    float other[MAX_CHANNELS * MAX_PADDED];
    for (int64_t i = 0; i < distinct; i++)
        for (int64_t t = 0; t < e->sides; t++) {
            const int64_t cell = b * e->cells + e->cell_y[t * e->ny + y] * e->cells_x + s->cell[i];
            float *to = s->kept + i * apart(e);
            if (e->waves) open_cell(e, cell, to);
            else join(e, (const float *)e->rows + cell * each, e->along_y + (t * e->ny + y) * e->padded, t ? other : to);
            if (t)
                for (int64_t k = 0; k < e->channels * e->padded; k += LANES) *(vec *)(to + k) += load(other + k);
        }
}

/* One line's pixels x0 to x0 + count. */
INLINE void line(const struct basis *e, struct strip *s, int64_t b, int64_t y, int64_t x0, int64_t count) {
    const int64_t plane = e->ny * e->nx, n = e->padded;
    float *out = e->out + b * e->channels * plane + y * e->nx + x0;
#if defined(__AVX512F__)
#define TO (s->made + 4 * x)
#else
#define TO (out + x)
#endif
    for (int64_t x = 0, end; x < count; x = end) {
        for (end = x + 1; end < count && end < x + GROUP; end++) { /* the pixels that read the same cells */
            int same = 1;
            for (int64_t t = 0; t < e->sides; t++) same &= s->of[t * STRIP + end] == s->of[t * STRIP + x];
            if (!same) break;
        }
        const float *own[MAX_SIDES] = {s->of[x], s->of[STRIP + x]}, *const *along = s->along + x;
        const float *lift = e->along_y + y * 2 * n;
#define WAVES(p) waves(own[0], lift, along, n, TO, own[0] + 2 * n, plane, p, 3)
#define WAVES_OF_ONE(p) waves(own[0], lift, along, n, out + c * plane + x, own[0] + (2 + c) * n, plane, p, 1)
#define PRODUCTS(p) products(own, along, e->sides, n, TO, plane, p, 3)
#define PRODUCTS_OF_ONE(p) products(of_one, along, e->sides, n, out + c * plane + x, plane, p, 1)
        if (e->channels == 3 && e->waves) FOR_COUNT(end - x, WAVES)
        else if (e->channels == 3) FOR_COUNT(end - x, PRODUCTS)
        else
            for (int64_t c = 0; c < e->channels; c++) {
                const float *of_one[MAX_SIDES] = {own[0] + c * n, own[1] + c * n};
                if (e->waves) FOR_COUNT(end - x, WAVES_OF_ONE)
                else FOR_COUNT(end - x, PRODUCTS_OF_ONE)
            }
    }
#if defined(__AVX512F__)
    if (e->channels == 3) {
        spread(e, s, b, y, x0, count, out);
        return;
    }
#endif
    if (e->picture && e->channels == 3) add_picture(e, s, b, y, x0, count, out, 3);
    else if (e->picture) add_picture(e, s, b, y, x0, count, out, e->channels);
}

/* Which cells a strip's pixels read, each once; pixels behind the last repeat it. */
INLINE int64_t cells_of(const struct basis *e, struct strip *s, int64_t x0, int64_t count) {
    int64_t distinct = 0;
    for (int64_t t = 0; t < e->sides; t++)
        for (int64_t p = 0; p < STRIP; p++) {
            const int64_t x = x0 + (p < count ? p : count - 1), cell = e->cell_x[t * e->nx + x];
            int64_t i = distinct - 1;
            while (i >= 0 && s->cell[i] != cell) i--;
            if (i < 0) i = distinct++, s->cell[i] = cell;
            s->of[t * STRIP + p] = s->kept + i * apart(e);
            s->along[t * STRIP + p] = e->along_x + (t * e->nx + x) * e->padded * (e->waves ? 2 : 1);
        }
    return distinct;
}

void run(const struct basis *e) {
    struct strip s;
    for (int64_t i = 0; i < MAX_SIDES * STRIP; i++) s.of[i] = s.kept;
    for (int64_t b = 0; b < e->batch; b++)
        for (int64_t y = e->first, end; y < e->last; y = end) {
            for (end = y + 1; end < e->last; end++) { /* the lines that read the same cells */
                int same = 1;
                for (int64_t t = 0; t < e->sides; t++) same &= e->cell_y[t * e->ny + end] == e->cell_y[t * e->ny + y];
                if (!same) break;
            }
            for (int64_t x = 0; x < e->nx; x += STRIP) {
                const int64_t count = e->nx - x < STRIP ? e->nx - x : STRIP, distinct = cells_of(e, &s, x, count);
                if (e->picture) place_picture(e, &s, x, count);
                for (int64_t each = y; each < end; each++) {
                    if (each == y || !e->waves) keep(e, &s, b, each, distinct);
                    line(e, &s, b, each, x, count);
                }
            }
        }
}

/* What the caller has to know: the lanes, the most functions (padded), the most channels, the struct's size. */
void about(int64_t *answer) {
    answer[0] = LANES, answer[1] = MAX_PADDED, answer[2] = MAX_CHANNELS, answer[3] = sizeof(struct basis);
}
