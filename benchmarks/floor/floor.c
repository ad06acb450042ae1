/* A floor to measure against: value and logit gradient of `ce + dice + l1` (temperature 10), f32
   logits, int64 labels, in plain C with no trick but blocks and what the compiler vectorises. It
   leaves out pixel weights, ignored labels, the checks of labels and logits, and the formulas on
   the sums, and it adds plainly in f32 within a block. So it is no peer; it shows what the
   processor can do.

   Compiled once for each number of classes K (1: sigmoid). Reads a request a line, as the other
   engines do, and replies with the seconds of one call. */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TAU 10.0f
#define BLOCK (K == 1 ? 1024 : 512)

static float *logits, *gradient;
static int64_t *labels;
static size_t samples, pixels;

/* What the loss would hand down to each sum; any numbers take the same time. */
static const float PER_P = 1e-7f, PER_I = 2e-7f, PER_Q = 3e-8f, PER_L = 1e-7f;

/* e^x for x <= 0 */
static inline float power(float x) {
    x = x < -87.0f ? -87.0f : x;
    float t = x * 1.44269504f, n = rintf(t), f = t - n;
    float p = 1.5403530e-4f;
    p = p * f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    union { float f; int32_t i; } bits = { .f = p };
    bits.i += ((int32_t)n) << 23;
    return bits.f;
}

/* 2 atanh(s), which is log((1 + s)/(1 - s)) */
static inline float twice_atanh(float s) {
    float square = s * s, p = 2.0f / 11;
    p = p * square + 2.0f / 9;
    p = p * square + 2.0f / 7;
    p = p * square + 2.0f / 5;
    p = p * square + 2.0f / 3;
    p = p * square + 2.0f;
    return s * p;
}

/* log x, x > 0 */
static inline float logarithm(float x) {
    union { float f; int32_t i; } bits = { .f = x };
    int32_t e = (bits.i - 0x3f3504f3) >> 23;
    bits.i -= e << 23;
    return twice_atanh((bits.f - 1.0f) / (bits.f + 1.0f)) + e * 0.69314718f;
}

#if K == 1
static double value_of(size_t sample, size_t from, size_t length) {
    const float *z = logits + sample * pixels + from;
    const int64_t *y = labels + sample * pixels + from;
    float p_sum = 0, i_sum = 0, l_sum = 0, q_sum = 0, t_sum = 0;
    for (size_t s = 0; s < length; s++) {
        float x = z[s], depth = fabsf(x), e = power(-depth), r = 1.0f / (1.0f + e);
        float p = x >= 0 ? r : e * r, sharp = power(-TAU * depth), rs = 1.0f / (1.0f + sharp);
        float is = (float)(int32_t)y[s], own = is != 0 ? x : -x;
        l_sum += twice_atanh(e / (2.0f + e)) + (own < 0 ? -own : 0.0f);
        p_sum += p;
        i_sum += is * p;
        q_sum += x >= 0 ? rs : sharp * rs;
        t_sum += is;
    }
    return (double)p_sum + i_sum + l_sum + q_sum + t_sum;
}

static void gradient_of(size_t sample, size_t from, size_t length) {
    const float *z = logits + sample * pixels + from;
    const int64_t *y = labels + sample * pixels + from;
    float *g = gradient + sample * pixels + from;
    for (size_t s = 0; s < length; s++) {
        float x = z[s], depth = fabsf(x), e = power(-depth), r = 1.0f / (1.0f + e), er = e * r;
        float sharp = power(-TAU * depth), rs = 1.0f / (1.0f + sharp);
        float is = (float)(int32_t)y[s], p = x >= 0 ? r : er;
        g[s] = PER_L * (p - is) + r * er * (PER_P + is * PER_I) + TAU * PER_Q * (sharp * rs * rs);
    }
}
#else
struct columns {
    float e[K][BLOCK], sharp[K][BLOCK], max[BLOCK], sum[BLOCK], scale[BLOCK], sharp_scale[BLOCK];
    int32_t label[BLOCK];
};

static void probabilities(struct columns *c, const float *z, const int64_t *y, size_t length) {
    float sharp_sum[BLOCK];
    for (size_t s = 0; s < length; s++) {
        c->max[s] = z[s];
        c->sum[s] = sharp_sum[s] = 0;
        c->label[s] = (int32_t)y[s];
    }
    for (int k = 1; k < K; k++)
        for (size_t s = 0; s < length; s++)
            c->max[s] = z[k * pixels + s] > c->max[s] ? z[k * pixels + s] : c->max[s];
    for (int k = 0; k < K; k++)
        for (size_t s = 0; s < length; s++) {
            float depth = z[k * pixels + s] - c->max[s], e = power(depth), sharp = power(TAU * depth);
            c->e[k][s] = e;
            c->sharp[k][s] = sharp;
            c->sum[s] += e;
            sharp_sum[s] += sharp;
        }
    for (size_t s = 0; s < length; s++) {
        c->scale[s] = 1.0f / c->sum[s];
        c->sharp_scale[s] = 1.0f / sharp_sum[s];
    }
}

static double value_of(size_t sample, size_t from, size_t length) {
    static _Thread_local struct columns c;
    const float *z = logits + sample * K * pixels + from;
    probabilities(&c, z, labels + sample * pixels + from, length);
    float l_sum = 0;
    for (size_t s = 0; s < length; s++) l_sum += logarithm(c.sum[s]) + c.max[s];
    double all = l_sum;
    for (int k = 0; k < K; k++) {
        float p_sum = 0, i_sum = 0, q_sum = 0, own = 0;
        int t_sum = 0;
        for (size_t s = 0; s < length; s++) {
            float p = c.e[k][s] * c.scale[s];
            int is = c.label[s] == k;
            p_sum += p;
            i_sum += is ? p : 0.0f;
            q_sum += c.sharp[k][s] * c.sharp_scale[s];
            t_sum += is;
            own += is ? z[k * pixels + s] : 0.0f;
        }
        all += (double)p_sum + i_sum + q_sum + t_sum - own;
    }
    return all;
}

static void gradient_of(size_t sample, size_t from, size_t length) {
    static _Thread_local struct columns c;
    float total[BLOCK], sharp_total[BLOCK];
    probabilities(&c, logits + sample * K * pixels + from, labels + sample * pixels + from, length);
    for (size_t s = 0; s < length; s++) total[s] = sharp_total[s] = 0;
    for (int k = 0; k < K; k++) {
        float per_p = PER_P * k, per_q = PER_Q * k;
        for (size_t s = 0; s < length; s++) {
            float p = c.e[k][s] * c.scale[s], q = c.sharp[k][s] * c.sharp_scale[s];
            total[s] += p * (per_p + (c.label[s] == k ? PER_I : 0.0f));
            sharp_total[s] += q * per_q;
            c.e[k][s] = p;
            c.sharp[k][s] = q;
        }
    }
    for (int k = 0; k < K; k++) {
        float per_p = PER_P * k, per_q = PER_Q * k, *g = gradient + (sample * K + k) * pixels + from;
        for (size_t s = 0; s < length; s++) {
            int is = c.label[s] == k;
            float u = per_p + (is ? PER_I : 0.0f) + PER_L - total[s];
            g[s] = c.e[k][s] * u + (is ? -PER_L : 0.0f) + TAU * c.sharp[k][s] * (per_q - sharp_total[s]);
        }
    }
}
#endif

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* One call: each thread has a part of every sample. */
static double call(int value, int backward) {
    double all = 0;
#pragma omp parallel reduction(+ : all)
    {
        size_t threads = omp_get_num_threads(), me = omp_get_thread_num();
        size_t from = pixels * me / threads / BLOCK * BLOCK;
        size_t to = me + 1 == threads ? pixels : pixels * (me + 1) / threads / BLOCK * BLOCK;
        for (size_t sample = 0; sample < samples; sample++) {
            if (value)
                for (size_t b = from; b < to; b += BLOCK) all += value_of(sample, b, to - b < BLOCK ? to - b : BLOCK);
            if (backward)
                for (size_t b = from; b < to; b += BLOCK) gradient_of(sample, b, to - b < BLOCK ? to - b : BLOCK);
        }
    }
    return all;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    samples = strtoull(arguments[1], NULL, 10);
    pixels = strtoull(arguments[2], NULL, 10);
    size_t all = samples * K * pixels;
    logits = malloc(all * sizeof *logits);
    gradient = malloc(all * sizeof *gradient);
    labels = malloc(samples * pixels * sizeof *labels);
    if (!logits || !gradient || !labels) return 3;
    srand(1);
    for (size_t i = 0; i < all; i++) logits[i] = 6.0f * rand() / (float)RAND_MAX - 3;
    for (size_t i = 0; i < samples * pixels; i++) labels[i] = rand() % (K == 1 ? 2 : K);
    memset(gradient, 0, all * sizeof *gradient);
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        const char *repeat = strstr(line, "\"repeat\":"), *threads = strstr(line, "\"threads\":");
        if (!repeat || !threads) {
            printf("{\"error\": \"not a request to run\"}\n");
        } else {
            omp_set_num_threads(atoi(threads + strlen("\"threads\":")));
            int turns = atoi(repeat + strlen("\"repeat\":"));
            int value = !strstr(line, "\"op\":\"gradient\""), backward = !strstr(line, "\"op\":\"value\"");
            double sum = 0, start = now();
            for (int i = 0; i < turns; i++) sum += call(value, backward);
            printf("{\"seconds\": %.9e, \"value\": %.9e}\n", (now() - start) / turns, sum);
        }
        fflush(stdout);
    }
    return 0;
}
