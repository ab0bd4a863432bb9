/* Basis decoders on a grid, on a CPU: sum_k coefficient[c, k] * function_k(offset), where the functions are separable.
 *
 * A cell's coefficients are first combined with the functions along y of one line of output pixels, which leaves J
 * numbers per channel; a pixel is their product with the J functions along x. The cells of a strip of pixels stay in the
 * first-level cache while all lines of a row of cells are made. Functions are computed beforehand, per axis, with the
 * weights of the local ensemble in them; see basis.py. Everything is float32.
 */
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { STRIP = 16, GROUP = 4, MAX_SIDES = 2, MAX_JOINED = 256, MAX_CHANNELS = 4 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t four_ints __attribute__((vector_size(16)));
#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_ints){i, j, k, l})
#endif

/* basis.py has the same fields in the same order. */
struct basis {
    int64_t turned;                  /* 1: sines, then cosines, of angles that add up; 0: products of functions per axis */
    int64_t batch, channels, sides;  /* sides: cells per axis of a pixel, 1 or 2 */
    int64_t functions;               /* turned: of angles; else: along y, and as many along x */
    int64_t block, joined;           /* of the tables: numbers of a part (functions, padded), and of a pixel along x */
    int64_t ny, nx, first, last;     /* of the whole grid; the lines to make */
    int64_t cells, cells_x;
    int64_t pixels, pixels_x;        /* of the picture */
    const int64_t *cell_y, *cell_x;  /* (sides, ny), (sides, nx) */
    const float *along_y;            /* (sides, ny, 2 * block) if turned: cosines, sines; else (sides, ny, block) */
    const float *along_x;            /* (sides, nx, joined): if turned sines, cosines */
    const float *rows;               /* (batch, cells, channels * K) */
    const float *picture;            /* (batch, pixels, channels), added; or NULL */
    const int64_t *pixel_y, *pixel_x; /* (2, ny), (2, nx) */
    const float *share_y, *share_x;
    const float *constant;           /* (channels,) */
    float *out;                      /* (batch, channels, ny, nx) */
};

INLINE vec load(const float *p) { return *(const vec *)p; }

INLINE vec splat(float x) { return x - (vec){0}; }

/* The first of n numbers; zeros behind the last, which is not read. */
INLINE vec load_some(const float *p, int64_t n) {
    if (n >= LANES) return load(p);
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
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

/* A cell's coefficients with the functions along y of one line: (channels, joined). */
INLINE void join_turned(const struct basis *e, const float *row, const float *along, float *to) {
    const int64_t n = e->functions, block = e->block;
    for (int64_t c = 0; c < e->channels; c++, row += 2 * n, to += 2 * block)
        for (int64_t k = 0; k < block; k += LANES) {
            vec sine = load_some(row + k, n - k), cosine = load_some(row + n + k, n - k);
            vec turn = load(along + k), lift = load(along + block + k);
            *(vec *)(to + k) = sine * turn - cosine * lift;
            *(vec *)(to + block + k) = sine * lift + cosine * turn;
        }
}

INLINE void join_products(const struct basis *e, const float *row, const float *along, float *to) {
    const int64_t n = e->functions;
    for (int64_t c = 0; c < e->channels; c++, row += n * n, to += e->block)
        for (int64_t k = 0; k < e->block; k += LANES) {
            vec total = {0};
            for (int64_t i = 0; i < n; i++) total += splat(along[i]) * load_some(row + i * n + k, n - k);
            *(vec *)(to + k) = total;
        }
}

/* Four pixels of one line and channel. */
INLINE four dots(const float *const *joined, const float *const *along, int64_t sides, int64_t n) {
    vec acc[GROUP] = {{0}};
    for (int64_t s = 0; s < sides; s++, joined += STRIP, along += STRIP)
        for (int64_t k = 0; k < n; k += LANES)
            UNROLLED for (int p = 0; p < GROUP; p++) acc[p] += load(joined[p] + k) * load(along[p] + k);
    return sums(acc[0], acc[1], acc[2], acc[3]);
}

struct strip {
    float joined[MAX_SIDES * STRIP * (MAX_CHANNELS * MAX_JOINED + LANES)]; /* of each cell; no two a page apart */
    const float *of[MAX_SIDES * STRIP];    /* of a side's pixels, in joined */
    const float *along[MAX_SIDES * STRIP]; /* in along_x */
    int64_t cell[MAX_SIDES * STRIP];       /* that is joined: its column */
};

INLINE int64_t apart(const struct basis *e) { return e->channels * e->joined + LANES; }

/* The picture's share of up to STRIP pixels of a line, and the constant. */
INLINE void add_picture(const struct basis *e, int64_t b, int64_t y, int64_t x0, int64_t count, float *out) {
    const int64_t plane = e->ny * e->nx, channels = e->channels;
    const float *picture = e->picture + b * e->pixels * channels;
    const float *low = picture + e->pixel_y[y] * e->pixels_x * channels;
    const float *high = picture + e->pixel_y[e->ny + y] * e->pixels_x * channels;
    const float p = e->share_y[y], q = e->share_y[e->ny + y];
    for (int64_t x = x0; x < x0 + count; x++) {
        const int64_t left = e->pixel_x[x] * channels, right = e->pixel_x[e->nx + x] * channels;
        const float l = e->share_x[x], r = e->share_x[e->nx + x];
        for (int64_t c = 0; c < channels; c++)
            out[c * plane + x - x0] += (low[left + c] * p + high[left + c] * q) * l +
                                       (low[right + c] * p + high[right + c] * q) * r + e->constant[c];
    }
}

/* One line's pixels x0 to x0 + count. */
INLINE void line(const struct basis *e, struct strip *s, int64_t b, int64_t y, int64_t x0, int64_t count,
                 const int64_t distinct, const int turned) {
    const int64_t size = turned ? 2 * e->block : e->block;
    const int64_t each = e->channels * (turned ? 2 * e->functions : e->functions * e->functions);
    const float *rows = e->rows + b * e->cells * each;
    for (int64_t i = 0; i < distinct; i++) {
        for (int64_t t = 0; t < e->sides; t++) {
            const float *row = rows + (e->cell_y[t * e->ny + y] * e->cells_x + s->cell[i]) * each;
            const float *along = e->along_y + (t * e->ny + y) * size;
            float *to = s->joined + i * apart(e);
            float other[MAX_CHANNELS * MAX_JOINED];
            if (turned) join_turned(e, row, along, t ? other : to);
            else join_products(e, row, along, t ? other : to);
            if (t)
                for (int64_t k = 0; k < e->channels * e->joined; k += LANES) *(vec *)(to + k) += load(other + k);
        }
    }
    const int64_t plane = e->ny * e->nx;
    float *out = e->out + b * e->channels * plane + y * e->nx + x0;
    for (int64_t c = 0; c < e->channels; c++)
        for (int64_t x = 0; x < count; x += GROUP) {
            const float *joined[MAX_SIDES * STRIP];
            for (int64_t t = 0; t < e->sides; t++)
                UNROLLED for (int p = 0; p < GROUP; p++) joined[t * STRIP + p] = s->of[t * STRIP + x + p] + c * e->joined;
            four values = dots(joined, s->along + x, e->sides, e->joined);
            float *to = out + c * plane + x;
            if (count - x >= GROUP) *(four *)to = values;
            else
                for (int64_t p = 0; p < count - x; p++) to[p] = values[p];
        }
    if (e->picture) add_picture(e, b, y, x0, count, out);
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
            s->of[t * STRIP + p] = s->joined + i * apart(e);
            s->along[t * STRIP + p] = e->along_x + (t * e->nx + x) * e->joined;
        }
    return distinct;
}

INLINE void make(const struct basis *e, const int turned) {
    struct strip s;
    for (int64_t b = 0; b < e->batch; b++)
        for (int64_t y = e->first, end; y < e->last; y = end) {
            for (end = y + 1; end < e->last; end++) { /* the lines that read the same cells */
                int same = 1;
                for (int64_t t = 0; t < e->sides; t++) same &= e->cell_y[t * e->ny + end] == e->cell_y[t * e->ny + y];
                if (!same) break;
            }
            for (int64_t x = 0; x < e->nx; x += STRIP) {
                const int64_t count = e->nx - x < STRIP ? e->nx - x : STRIP, distinct = cells_of(e, &s, x, count);
                for (int64_t each = y; each < end; each++) line(e, &s, b, each, x, count, distinct, turned);
            }
        }
}

static void make_turned(const struct basis *e) { make(e, 1); }

static void make_products(const struct basis *e) { make(e, 0); }

/* What the caller has to know: the lanes, the most numbers of a pixel along x, the most channels, the struct's size. */
void about(int64_t *answer) {
    answer[0] = LANES, answer[1] = MAX_JOINED, answer[2] = MAX_CHANNELS, answer[3] = sizeof(struct basis);
}

void run(const struct basis *e) { (e->turned ? make_turned : make_products)(e); }
