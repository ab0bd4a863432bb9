/* Vectors of the processor's width, and what both kernels do with them. */
#include <math.h>
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
#define UNALIGNED aligned(4), may_alias

typedef float vec __attribute__((vector_size(4 * LANES), UNALIGNED));
typedef int32_t ints __attribute__((vector_size(4 * LANES), UNALIGNED));
typedef uint32_t words __attribute__((vector_size(4 * LANES), UNALIGNED));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

typedef float four __attribute__((vector_size(16), UNALIGNED));
typedef int32_t four_ints __attribute__((vector_size(16)));
#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_ints){i, j, k, l})
#endif

INLINE vec load(const float *p) { return *(const vec *)p; }

/* The first of n numbers; zeros behind the last, which is not read. A mask, not a branch: it is made once for a loop. */
INLINE vec load_some(const float *p, int64_t n) {
    n = n < 0 ? 0 : n > LANES ? LANES : n;
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (vec)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes));
#else
    vec v = {0};
    if (n == LANES) return load(p);
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

/* The first of n numbers in bfloat16; zeros behind the last. */
INLINE vec load_narrow(const uint16_t *p, int64_t n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    n = n < 0 ? 0 : n > LANES ? LANES : n;
    const halves h = (halves)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p);
#else
    halves h = {0};
    if (n >= LANES) h = *(const halves *)p;
    else
        for (int64_t i = 0; i < n; i++) h[i] = p[i];
#endif
    return (vec)(__builtin_convertvector(h, words) << 16);
}

INLINE vec splat(float x) { return x - (vec){0}; }

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

/* Whether a lane is not 0. */
INLINE int any_of(ints x) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)x, (__m512i)x) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)x, (__m256i)x);
#else
    int any = 0;
    UNROLLED for (int i = 0; i < LANES; i++) any |= x[i];
    return any;
#endif
}

/* Sine and cosine: the angle less whole quarter turns, taken off in three parts (Cody and Waite), then the polynomials
 * of Cephes' sinf and cosf on [-pi/4, pi/4]. Angles beyond FAR, which no trained model has, are left to the C library. */
static const float FAR = 1e4f;

INLINE void sine_and_cosine(vec x, vec *sine, vec *cosine) {
    ints far = ~(ints)((x < splat(FAR)) & (x > splat(-FAR)));
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: rounds to a whole number, and leaves it in the low bits */
    vec turned = x * splat(0.636619772f) + magic;
    ints quarter = (ints)turned;
    vec q = turned - magic;
    vec r = x - q * splat(1.57079637e0f);
    r = r + q * splat(4.37113883e-8f);
    r = r + q * splat(1.71512451e-15f);
    vec r2 = r * r;
    vec s = ((splat(-1.9515295891e-4f) * r2 + splat(8.3321608736e-3f)) * r2 + splat(-1.6666654611e-1f)) * r2 * r + r;
    vec c = ((splat(2.443315711809948e-5f) * r2 + splat(-1.388731625493765e-3f)) * r2 + splat(4.166664568298827e-2f)) *
                (r2 * r2) + (splat(1.0f) - splat(0.5f) * r2);
    ints odd = -(quarter & 1);
    ints sin_sign = (quarter & 2) << 30, cos_sign = ((quarter + 1) & 2) << 30;
    *sine = (vec)((((ints)c & odd) | ((ints)s & ~odd)) ^ sin_sign);
    *cosine = (vec)((((ints)s & odd) | ((ints)c & ~odd)) ^ cos_sign);
    if (__builtin_expect(any_of(far), 0))
        for (int i = 0; i < LANES; i++)
            if (far[i]) (*sine)[i] = sinf(x[i]), (*cosine)[i] = cosf(x[i]);
}
