/* The local ensemble in one pass on a CPU: fetch, offsets, the whole MLP and the blend, for LIIF, LTE and LMF.
 *
 * A row is one neighbour of one query. A panel of rows goes through all layers before the next one begins, so that its
 * values stay in the second-level cache; a product keeps a tile of ROWS x VECTORS sums in registers, and reads the
 * matrix in strips that fit the first-level cache. Which cells the rows are, and how far away, is computed beforehand
 * in float32 by implicitkit.decoders.neighbours, per axis.
 *
 * Hidden widths are padded with zeros to whole strips. Matrices lie strip by strip, see cpu.py: (strip, in, STRIP) in
 * float32, (strip, in / 2, STRIP, 2) in bfloat16, where a product of pairs is one instruction. Sums are float32.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"
#include "vectors.h"

#if defined(__AVX512F__) /* 32 registers of 16 numbers */
enum { ROWS = 14, VECTORS = 2, PANEL = 6 * ROWS, SLIM = 1 };
#elif defined(__AVX2__) /* 16 of 8 */
enum { ROWS = 6, VECTORS = 2, PANEL = 16 * ROWS, SLIM = 2 };
#else /* 32 of 4, as ARM's */
enum { ROWS = 6, VECTORS = 4, PANEL = 16 * ROWS, SLIM = 4 };
#endif
/* LMF's layers are 16 wide: tiles of SLIM vectors and more rows, no wider than they. */
enum { STRIP = LANES * VECTORS, SLIM_STRIP = LANES * SLIM, SLIM_ROWS = ROWS * VECTORS / SLIM };
enum { SHARES = 8, MAX_SHARE = 16 }; /* a thread's, at least; panels of one */
enum { LINE = 64, MAX_BLENDED = 4, TOGETHER = 4, SLIM_STRIDE = SLIM_STRIP * 4 + LINE };
_Static_assert(PANEL % ROWS == 0 && PANEL % SLIM_ROWS == 0 && PANEL % 4 == 0,
               "a panel is whole tiles, and whole queries of four neighbours");

typedef int64_t four_cells __attribute__((vector_size(32), aligned(8), may_alias));

#define UNROLLED_ROWS _Pragma("GCC unroll 32")

enum { SUMS, WAVES, MODULATED }; /* LIIF's form, LTE's and LMF's, see table.py */

/* cpu.py has the same fields in the same order. */
struct ensemble {
    int64_t form;                     /* SUMS, WAVES or MODULATED */
    int64_t narrow;                   /* products are bfloat16's (never MODULATED's) */
    int64_t narrow_rows;              /* the latent is bfloat16 (LIIF's alone) */
    int64_t batch, points, sides;     /* sides of a query per axis that have a cell: 1 or 2 */
    int64_t grid, width;              /* queries are a grid, so many in a row */
    int64_t ny, nx;                   /* coordinates per axis */
    int64_t cells, cells_x, row;      /* of the latent: cells, cells of a line, numbers of a cell */
    int64_t first;                    /* padded width of what the first product reads */
    int64_t layers;                   /* products that a ReLU follows */
    int64_t channels;                 /* of the result */
    const int64_t *widths, *real;     /* (layers,) padded, and not */
    const int64_t *cell_y, *cell_x;   /* (sides, ny), (sides, nx) */
    const float *off_y, *off_x;
    const float *share_y, *share_x;   /* of the blend of two sides */
    const void *rows;                 /* (batch, cells, row) */
    const float *geometry;            /* LIIF, LMF: (3, first): along y, along x, constant; LTE: phases (first / 2) */
    const float *added;               /* (batch, points, n), what a query adds to the first sums of all its rows: n is
                                         LIIF's row, or the width of LTE's first layer; or NULL */
    const void *weights;              /* of the layers, one after the other */
    const float *biases;
    const void *last;                 /* (channels, padded width before) */
    const float *last_bias;
    float *out;                       /* (batch, points, channels); of a grid (batch, channels, points) */
};

/* A panel's queries, and two buffers for its values: a layer reads one and writes the other. */
struct panel {
    int64_t cell[PANEL];
    float dy[PANEL], dx[PANEL], weight[PANEL];
    const float *added[PANEL]; /* of each row, where there is any */
    const float *modulation[PANEL]; /* of each row, LMF's: the scales of its layers, then the shifts */
    size_t stride; /* bytes from row to row */
    char *values[2];
};

/* What is no number stays none: the maximum of two is the second where either is none. */
INLINE vec relu(vec x) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps(_mm256_setzero_ps(), (__m256)x);
#else
    return (vec)((ints)x & ~(ints)(x < splat(0)));
#endif
}

INLINE float sum(vec x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)x);
#endif
    float total = 0;
    UNROLLED for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

INLINE void store(char *row, int64_t at, vec x, const int narrow) {
#if defined(__AVX512BF16__)
    if (narrow) {
        __m256i h = (__m256i)_mm512_cvtneps_pbh((__m512)x);
        memcpy((uint16_t *)row + at, &h, sizeof h);
        return;
    }
#endif
    (void)narrow;
    *(vec *)((float *)row + at) = x;
}

/* The first n numbers from added[r] + at on, added to the sums of row r. */
INLINE void add_to(vec acc[ROWS][VECTORS], const float *const *added, int64_t at, int64_t n) {
    UNROLLED for (int r = 0; r < ROWS; r++)
        UNROLLED for (int v = 0; v < VECTORS; v++) acc[r][v] += load_some(added[r] + at + LANES * v, n - LANES * v);
}

INLINE void start(vec acc[ROWS][VECTORS], const float *bias) {
    UNROLLED for (int r = 0; r < ROWS; r++)
        UNROLLED for (int v = 0; v < VECTORS; v++) acc[r][v] = load(bias + LANES * v);
}

/* ROWS rows of k numbers times a strip of a matrix, added to the sums. */
INLINE void multiply(vec acc[ROWS][VECTORS], const char *x, size_t stride, const float *w, int64_t k) {
    for (int64_t i = 0; i < k; i++, w += STRIP) {
        vec column[VECTORS];
        UNROLLED for (int v = 0; v < VECTORS; v++) column[v] = load(w + LANES * v);
        UNROLLED for (int r = 0; r < ROWS; r++) {
            vec each = splat(((const float *)(x + r * stride))[i]);
            UNROLLED for (int v = 0; v < VECTORS; v++) acc[r][v] += each * column[v];
        }
    }
}

/* ROWS rows of k numbers times a strip of a matrix, plus the bias and what is added (or NULL; at: where the strip is in
 * its n numbers), through a ReLU. */
static void tile_float32(const char *x, char *y, size_t stride, const float *w, const float *bias, int64_t k,
                         const float *const *added, int64_t at, int64_t n) {
    vec acc[ROWS][VECTORS];
    start(acc, bias);
    if (added) add_to(acc, added, at, n - at);
    multiply(acc, x, stride, w, k);
    UNROLLED for (int r = 0; r < ROWS; r++)
        UNROLLED for (int v = 0; v < VECTORS; v++) *(vec *)((float *)(y + r * stride) + LANES * v) = relu(acc[r][v]);
}

/* LMF's: each row's sums are multiplied by n numbers of its own, which begin at a layer's place, and others added, so
 * far behind, before the ReLU. */
INLINE void modulate(const char *x, char *y, const size_t stride, const float *w, const float *bias, const int64_t k,
                     const float *const *modulation, int64_t place, int64_t behind, int64_t at, const int64_t n) {
    vec acc[SLIM_ROWS][SLIM];
    UNROLLED_ROWS for (int r = 0; r < SLIM_ROWS; r++)
        UNROLLED for (int v = 0; v < SLIM; v++) acc[r][v] = load(bias + LANES * v);
    for (int64_t i = 0; i < k; i++, w += SLIM_STRIP) {
        vec column[SLIM];
        UNROLLED for (int v = 0; v < SLIM; v++) column[v] = load(w + LANES * v);
        UNROLLED_ROWS for (int r = 0; r < SLIM_ROWS; r++) {
            vec each = splat(((const float *)(x + r * stride))[i]);
            UNROLLED for (int v = 0; v < SLIM; v++) acc[r][v] += each * column[v];
        }
    }
    UNROLLED_ROWS for (int r = 0; r < SLIM_ROWS; r++)
        UNROLLED for (int v = 0; v < SLIM; v++) {
            const int64_t j = at + LANES * v;
            const float *own = modulation[r] + place + j;
            vec moved = acc[r][v] * load_some(own, n - j) + load_some(own + behind, n - j);
            *(vec *)((float *)(y + r * stride) + LANES * v) = relu(moved);
        }
}

static void tile_modulated(const char *x, char *y, size_t stride, const float *w, const float *bias, int64_t k,
                           const float *const *modulation, int64_t place, int64_t behind, int64_t at, int64_t n) {
    if (stride == SLIM_STRIDE && k == SLIM_STRIP && n == k) /* addresses are known: registers need not hold them */
        modulate(x, y, SLIM_STRIDE, w, bias, SLIM_STRIP, modulation, place, behind, 0, SLIM_STRIP);
    else
        modulate(x, y, stride, w, bias, k, modulation, place, behind, at, n);
}

#if defined(__AVX512BF16__)
static void tile_bfloat16(const char *x, char *y, size_t stride, const uint16_t *w, const float *bias, int64_t k,
                          const float *const *added, int64_t at, int64_t n) {
    __m512 acc[ROWS][VECTORS];
    UNROLLED for (int r = 0; r < ROWS; r++)
        UNROLLED for (int v = 0; v < VECTORS; v++) acc[r][v] = (__m512)load(bias + LANES * v);
    if (added)
        UNROLLED for (int r = 0; r < ROWS; r++)
            UNROLLED for (int v = 0; v < VECTORS; v++)
                acc[r][v] += (__m512)load_some(added[r] + at + LANES * v, n - at - LANES * v);
    for (int64_t i = 0; i < k; i += 2, w += 2 * STRIP) {
        __m512bh column[VECTORS];
        UNROLLED for (int v = 0; v < VECTORS; v++) column[v] = (__m512bh)_mm512_loadu_si512(w + 2 * LANES * v);
        UNROLLED for (int r = 0; r < ROWS; r++) {
            int32_t pair;
            memcpy(&pair, x + r * stride + 2 * i, sizeof pair);
            __m512bh each = (__m512bh)_mm512_set1_epi32(pair);
            UNROLLED for (int v = 0; v < VECTORS; v++) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], each, column[v]);
        }
    }
    UNROLLED for (int r = 0; r < ROWS; r++)
        UNROLLED for (int v = 0; v < VECTORS; v += 2) {
            __m512 low = (__m512)relu((vec)acc[r][v]), high = (__m512)relu((vec)acc[r][v + 1]);
            _mm512_storeu_si512(y + r * stride + 2 * LANES * v, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
}
#endif

/* A layer of LMF for all rows of a panel and all n columns, of which real are there. */
INLINE void modulated_layer(const char *x, char *y, size_t stride, int64_t rows, const float *w, const float *bias,
                            int64_t k, int64_t n, const float *const *modulation, int64_t place, int64_t behind,
                            int64_t real) {
    for (int64_t j = 0; j < n; j += SLIM_STRIP)
        for (int64_t r = 0; r < rows; r += SLIM_ROWS)
            tile_modulated(x + r * stride, y + r * stride + j * sizeof(float), stride, w + j * k, bias + j, k,
                           modulation + r, place, behind, j, real);
}

/* The same of the others. */
INLINE void layer(const char *x, char *y, size_t stride, int64_t rows, const char *w, const float *bias, int64_t k,
                  int64_t n, const float *const *added, int64_t real, const int narrow) {
    const int size = narrow ? 2 : 4;
    for (int64_t j = 0; j < n; j += STRIP)
        for (int64_t r = 0; r < rows; r += ROWS) {
            const char *from = x + r * stride, *strip = w + j * k * size;
            const float *const *own = added ? added + r : NULL;
            char *to = y + r * stride + j * size;
#if defined(__AVX512BF16__)
            if (narrow) {
                tile_bfloat16(from, to, stride, (const uint16_t *)strip, bias + j, k, own, j, real);
                continue;
            }
#endif
            tile_float32(from, to, stride, (const float *)strip, bias + j, k, own, j, real);
        }
}

/* The last layer: lane by lane, the products of a row's k values with one channel's column. */
INLINE vec products(const char *row, const char *column, int64_t k, const int narrow) {
#if defined(__AVX512BF16__)
    if (narrow) {
        __m512 total = _mm512_setzero_ps();
        for (int64_t j = 0; j < k; j += 2 * LANES)
            total = _mm512_dpbf16_ps(total, (__m512bh)_mm512_loadu_si512(row + 2 * j),
                                     (__m512bh)_mm512_loadu_si512(column + 2 * j));
        return (vec)total;
    }
#endif
    (void)narrow;
    vec total = {0};
    for (int64_t j = 0; j < k; j += LANES) total += load((const float *)row + j) * load((const float *)column + j);
    return total;
}

/* LIIF's first layer: the cell's sums, what the offset, the query and all queries add, through a ReLU. */
INLINE void first_of_liif(const struct ensemble *e, struct panel *p, int64_t picture, int64_t rows, const int narrow) {
    const float *along_y = e->geometry, *along_x = along_y + e->first, *constant = along_x + e->first;
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = (picture * e->cells + p->cell[r]) * e->row;
        vec dy = splat(p->dy[r]), dx = splat(p->dx[r]);
        char *to = p->values[0] + r * p->stride;
        for (int64_t j = 0; j < e->first; j += LANES) {
            vec cell = narrow && e->narrow_rows ? load_narrow((const uint16_t *)e->rows + at + j, e->row - j)
                                                : load_some((const float *)e->rows + at + j, e->row - j);
            vec moved = cell + dy * load(along_y + j) + dx * load(along_x + j) + load(constant + j);
            if (e->added) moved += load_some(p->added[r] + j, e->row - j);
            store(to, j, relu(moved), narrow);
        }
    }
}

/* LTE's waves: amplitudes times the cosines, then the sines, of the frequencies along y and x times the offset, plus
 * the phase. */
INLINE void first_of_lte(const struct ensemble *e, struct panel *p, int64_t picture, int64_t rows, const int narrow) {
    const int64_t half = e->first / 2, waves = e->row / 4;
    for (int64_t r = 0; r < rows; r++) {
        const float *cell = (const float *)e->rows + (picture * e->cells + p->cell[r]) * e->row;
        vec dy = splat(p->dy[r]), dx = splat(p->dx[r]), sine, cosine;
        char *to = p->values[0] + r * p->stride;
        for (int64_t j = 0; j < half; j += LANES) {
            const float *from = cell + j;
            int64_t n = waves - j;
            vec angle = load_some(from + 2 * waves, n) * dy + load_some(from + 3 * waves, n) * dx + load(e->geometry + j);
            sine_and_cosine(angle, &sine, &cosine);
            store(to, j, load_some(from, n) * cosine, narrow);
            store(to, half + j, load_some(from + waves, n) * sine, narrow);
        }
    }
}

/* LMF's first layer: what the offset and all queries give, times the cell's scales plus its shifts, through a ReLU. */
INLINE void first_of_lmf(const struct ensemble *e, struct panel *p, int64_t rows, int64_t n) {
    const int64_t behind = e->row / 2;
    const float *along_y = e->geometry, *along_x = along_y + e->first, *constant = along_x + e->first;
    for (int64_t r = 0; r < rows; r++) {
        vec dy = splat(p->dy[r]), dx = splat(p->dx[r]);
        float *to = (float *)(p->values[0] + r * p->stride);
        for (int64_t j = 0; j < e->first; j += LANES) {
            vec sum = dy * load(along_y + j) + dx * load(along_x + j) + load(constant + j);
            const float *own = p->modulation[r] + j;
            *(vec *)(to + j) = relu(sum * load_some(own, n - j) + load_some(own + behind, n - j));
        }
    }
}

/* The four neighbours of a query, from row r on. */
INLINE void corners_of(const struct ensemble *e, struct panel *p, int64_t r, int64_t iy, int64_t ix) {
    const int64_t jy = e->ny + iy, jx = e->nx + ix; /* the sides behind */
    const int64_t above = e->cell_y[iy] * e->cells_x, below = e->cell_y[jy] * e->cells_x;
    const int64_t left = e->cell_x[ix], right = e->cell_x[jx];
    *(four_cells *)(p->cell + r) = (four_cells){above + left, above + right, below + left, below + right};
    *(four *)(p->dy + r) = (four){e->off_y[iy], e->off_y[iy], e->off_y[jy], e->off_y[jy]};
    *(four *)(p->dx + r) = (four){e->off_x[ix], e->off_x[jx], e->off_x[ix], e->off_x[jx]};
    *(four *)(p->weight + r) = (four){e->share_y[iy], e->share_y[iy], e->share_y[jy], e->share_y[jy]} *
                               (four){e->share_x[ix], e->share_x[jx], e->share_x[ix], e->share_x[jx]};
}

/* The cells, offsets and weights of so many queries from the one numbered first on. */
static void places(const struct ensemble *e, struct panel *p, int64_t picture, int64_t first, int64_t count) {
    int64_t iy = e->grid ? first / e->width : picture * e->points + first, ix = e->grid ? first % e->width : iy;
    for (int64_t q = 0; q < count; q++) {
        if (e->sides == 2) corners_of(e, p, 4 * q, iy, ix);
        else {
            p->cell[q] = e->cell_y[iy] * e->cells_x + e->cell_x[ix];
            p->dy[q] = e->off_y[iy], p->dx[q] = e->off_x[ix], p->weight[q] = 1;
        }
        ix++;
        if (!e->grid) iy++;
        else if (ix == e->width) iy++, ix = 0;
    }
}

/* Fetch the cells that the next panel will read for the first time: those as far ahead as this one has come. */
static void fetch_ahead(const struct ensemble *e, const struct panel *p, int64_t picture, int64_t rows) {
    const int64_t sides = e->sides, corners = sides * sides, size = e->narrow_rows ? 2 : 4;
    for (int64_t c = sides - 1; c < corners; c += sides) { /* on the right: the left ones have been there */
        const int64_t ahead = p->cell[rows - corners + c] - p->cell[c] + 1;
        for (int64_t r = c, before = -1; r < rows; before = p->cell[r], r += corners) {
            if (p->cell[r] == before) continue;
            const char *row = (const char *)e->rows + (picture * e->cells + p->cell[r] + ahead) * e->row * size;
            for (int64_t i = 0; i < e->row * size; i += LINE) __builtin_prefetch(row + i); /* behind the last: no matter */
        }
    }
}

INLINE void evaluate(const struct ensemble *e, struct panel *p, int64_t picture, int64_t first, int64_t count,
                     const int narrow) {
    const int64_t corners = e->sides * e->sides, rows = count * corners;
    const int64_t tile = e->form == MODULATED ? SLIM_ROWS : ROWS, tiled = (rows + tile - 1) / tile * tile;
    const int size = narrow ? 2 : 4;
    places(e, p, picture, first, count);
    if (e->grid) fetch_ahead(e, p, picture, rows);
    const float *const *added = NULL; /* to the sums of the first product */
    if (e->added) {
        const int64_t n = e->form == SUMS ? e->row : e->real[0];
        for (int64_t r = 0; r < tiled; r++) { /* rows behind the last query's are computed, and not read */
            int64_t q = r / corners < count ? r / corners : count - 1;
            p->added[r] = e->added + (picture * e->points + first + q) * n;
        }
        if (e->form == WAVES) added = p->added;
    }
    const int64_t modulated = e->row / (2 * (e->layers + 1)); /* LMF's scales, and shifts, of a layer */
    if (e->form == MODULATED) { /* a cell: the scales of all layers, then the shifts of all */
        for (int64_t r = 0; r < tiled; r++)
            p->modulation[r] = (const float *)e->rows + (picture * e->cells + p->cell[r < rows ? r : rows - 1]) * e->row;
        first_of_lmf(e, p, rows, modulated);
    } else if (e->form == SUMS) first_of_liif(e, p, picture, rows, narrow);
    else
        first_of_lte(e, p, picture, rows, narrow);
    const char *weights = e->weights;
    const float *biases = e->biases;
    int64_t before = e->first;
    for (int64_t i = 0; i < e->layers; i++) {
        const char *from = p->values[i % 2];
        char *to = p->values[1 - i % 2];
        if (e->form == MODULATED)
            modulated_layer(from, to, p->stride, tiled, (const float *)weights, biases, before, e->widths[i],
                            p->modulation, (i + 1) * modulated, e->row / 2, e->real[i]);
        else
            layer(from, to, p->stride, tiled, weights, biases, before, e->widths[i], i ? NULL : added, e->real[i], narrow);
        if (e->real[i] < e->widths[i]) /* inf x 0, of padding, would be no number, and spread */
            for (int64_t r = 0; r < tiled; r++)
                memset(to + r * p->stride + e->real[i] * size, 0, (e->widths[i] - e->real[i]) * size);
        weights += before * e->widths[i] * size;
        biases += e->widths[i];
        before = e->widths[i];
    }
    const char *values = p->values[e->layers % 2];
    const int64_t beside = e->grid ? 1 : e->channels, plane = e->grid ? e->points : 1; /* from query to query, ... */
    float *out = e->out + picture * e->points * e->channels + first * beside;
    if (!narrow && e->channels <= MAX_BLENDED) { /* linear: the blend of what it reads */
        for (int64_t q = 0; q < count; q += TOGETHER) {
            vec total[MAX_BLENDED][TOGETHER] = {{{0}}};
            const int64_t there = count - q < TOGETHER ? count - q : TOGETHER;
            UNROLLED for (int64_t i = 0; i < TOGETHER; i++) {
                const int64_t first_row = (q + (i < there ? i : there - 1)) * corners;
                const char *row = values + first_row * p->stride;
                for (int64_t j = 0; j < before; j += LANES) {
                    vec blended = {0};
                    for (int64_t r = 0; r < corners; r++)
                        blended += splat(p->weight[first_row + r]) * load((const float *)(row + r * p->stride) + j);
                    UNROLLED for (int c = 0; c < MAX_BLENDED; c++)
                        if (c < e->channels) total[c][i] += blended * load((const float *)e->last + c * before + j);
                }
            }
            UNROLLED for (int c = 0; c < MAX_BLENDED; c++) {
                if (c >= e->channels) break;
                const four of_queries = sums(total[c][0], total[c][1], total[c][2], total[c][3]) + e->last_bias[c];
                float *to = out + q * beside + c * plane;
                if (beside == 1 && there == TOGETHER) *(four *)to = of_queries;
                else
                    UNROLLED for (int64_t i = 0; i < TOGETHER; i++)
                        if (i < there) to[i * beside] = of_queries[i];
            }
        }
        return;
    }
    for (int64_t q = 0; q < count; q++, out += beside)
        for (int64_t c = 0; c < e->channels; c++) {
            const char *column = (const char *)e->last + c * before * size;
            vec blended = {0};
            for (int64_t r = q * corners; r < (q + 1) * corners; r++)
                blended += splat(p->weight[r]) * products(values + r * p->stride, column, before, narrow);
            out[c * plane] = sum(blended) + e->last_bias[c];
        }
}

static void evaluate_float32(const struct ensemble *e, struct panel *p, int64_t picture, int64_t first, int64_t count) {
    evaluate(e, p, picture, first, count, 0);
}

static void evaluate_bfloat16(const struct ensemble *e, struct panel *p, int64_t picture, int64_t first, int64_t count) {
    evaluate(e, p, picture, first, count, 1);
}

struct work {
    const struct ensemble *e;
    int64_t queries, panels; /* of a panel; of the whole */
    int64_t share;           /* panels that a thread takes at a time: neighbours read the same cells */
    atomic_llong next;       /* panel to be taken */
    atomic_int failed;       /* memory ran out */
};

static void take_panels(void *argument) {
    struct work *work = argument;
    const struct ensemble *e = work->e;
    const int64_t queries = work->queries, of_a_picture = work->panels / e->batch;
    int64_t widest = e->first;
    for (int64_t i = 0; i < e->layers; i++) widest = e->widths[i] > widest ? e->widths[i] : widest;
    struct panel p;
    p.stride = widest * (e->narrow ? 2 : 4) + LINE; /* the line keeps rows out of each other's way in the cache */
    size_t bytes = (PANEL * p.stride + LINE - 1) / LINE * LINE;
    char *memory = aligned_alloc(LINE, 2 * bytes);
    if (!memory) {
        atomic_store(&work->failed, 1);
        return;
    }
    memset(memory, 0, 2 * bytes);
    p.values[0] = memory, p.values[1] = memory + bytes;
    for (;;) {
        int64_t taken = atomic_fetch_add(&work->next, work->share), end = taken + work->share;
        if (taken >= work->panels || atomic_load(&work->failed)) break;
        for (end = end < work->panels ? end : work->panels; taken < end; taken++) {
            int64_t first = taken % of_a_picture * queries, left = e->points - first, count = left < queries ? left : queries;
            (e->narrow ? evaluate_bfloat16 : evaluate_float32)(e, &p, taken / of_a_picture, first, count);
        }
    }
    free(memory);
}

/* What the caller has to know: {numbers of a strip, whether products of bfloat16 are there, the size of the struct,
 * numbers of a strip of LMF's}. */
void about(int64_t *answer) {
    answer[0] = STRIP;
#if defined(__AVX512BF16__)
    answer[1] = 1;
#else
    answer[1] = 0;
#endif
    answer[2] = sizeof(struct ensemble);
    answer[3] = SLIM_STRIP;
}

/* 0, or 1 where memory ran out. */
int run(const struct ensemble *e, int64_t threads) {
    const int64_t queries = PANEL / (e->sides * e->sides), panels = (e->points + queries - 1) / queries * e->batch;
    int64_t share = panels / (SHARES * threads);
    share = share < 1 ? 1 : share < MAX_SHARE ? share : MAX_SHARE;
    struct work work = {e, queries, panels, share, 0, 0};
    in_parallel(take_panels, &work, threads < panels ? threads : panels);
    return atomic_load(&work.failed);
}
