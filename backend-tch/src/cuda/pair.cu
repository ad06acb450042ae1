// The statistics of a plan, and their gradient for the logits.
//
// `source.rs` writes two pieces of text for a plan and puts this file between them. Before it come
// types and numbers, which say what is read and how much of it:
//
//   real                 the type that pixels are computed in
//   LOGIT(i), LABEL(i), SHARE(i), WEIGHT(i)   number i of a tensor, whatever type it is stored in
//   LABELS, WEIGHTED     whether the target is labels, and whether pixels have weights
//   IGNORED              how many labels are ignored
//   MAPS                 how many maps the plan has
//   CLASSES              K where it is known here (HELD), else a name for the one at run time
//   SOFTS, SIGMOIDS      how many temperatures softmax and sigmoid have
//   EACH, OWN            how many statistics are summed for each class, and for a pixel's own alone
//   SUMS                 their number, EACH + OWN
//   SLOPES               how many of them have a gradient
//   THREADS, RUN, BATCH  threads of a block, pixels of a thread between two additions in double,
//                        rows that are added up at a time
//
// Also before it come the functions that name each statistic of the plan (see `source.rs`).
// Pixels lie next to each other, and so do the threads that read them.

#define WARPS (THREADS / 32)
#define INLINE static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define INFINITE (1e308 * 1e308)

union Bits {
    unsigned bits;
    float number;
};

/// A number of half precision.
INLINE float from_f16(unsigned short half) {
#ifdef __CUDACC__
    float number;
    asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(half));
    return number;
#else
    const unsigned sign = (half & 0x8000u) << 16, rest = half & 0x7fffu;
    Bits x;
    x.bits = rest << 13;
    // Times 2^112: what lies between the two exponents of 1.
    x.number *= 5.192296858534828e33f;
    if (rest >= 0x7c00u) x.bits = 0x7f800000u | rest << 13;
    x.bits |= sign;
    return x.number;
#endif
}

/// A brain float: the upper half of a float.
INLINE float from_bf16(unsigned short half) {
    Bits x;
    x.bits = (unsigned)half << 16;
    return x.number;
}

/// A tensor of any strides; those of a map of one channel are 0 along the classes.
struct Strided {
    const void *at;
    long long n, k, s;
};

struct Arguments {
    Strided logits, target, weights;
    /// Sums of each block, [samples, rows, blocks].
    double *partials;
    /// The statistics, [SUMS + 1, samples, classes]; the last is the valid weight, in class 0.
    double *statistics;
    /// What comes back for each statistic that has a slope, [SLOPES, samples, classes].
    const double *upstream;
    /// The gradient, [samples, classes, pixels], row-major.
    real *gradient;
    long long samples, classes, pixels;
    /// Blocks of a sample.
    long long blocks;
    Strided maps[MAPS > 0 ? MAPS : 1];
    long long ignored[IGNORED > 0 ? IGNORED : 1];
};

/// Rows of partial sums: a class of a statistic each, the valid weight, and what is no number.
#define ROWS (SUMS * CLASSES + 2)

/// What is the same for all classes of a pixel.
struct Pixel {
    /// Its weight; 0 where it counts for nothing.
    real weight;
    /// The class that its label names; negative where there is none.
    long long own;
    /// The largest logit, and the first class that has it.
    real largest;
    long long top;
    /// 1/Σ e^(τ(z − largest)) at each temperature of the softmax.
    real inverse[SOFTS > 0 ? SOFTS : 1];
    /// log Σ e^(z − largest)
    real log_sum;
};

/// What a logit comes to.
struct Values {
    /// p at each temperature of the softmax.
    real soft[SOFTS > 0 ? SOFTS : 1];
    /// log p of the softmax.
    real log_soft;
    /// σ(τz) and σ(−τz) at each temperature of the sigmoid.
    real region[SIGMOIDS > 0 ? SIGMOIDS : 1], background[SIGMOIDS > 0 ? SIGMOIDS : 1];
    /// log σ(z) and log σ(−z).
    real log_region, log_background;
};

/// The maps of a pixel and class.
struct Maps {
    real at[MAPS > 0 ? MAPS : 1];
};

/// What the slopes of a class come to: through the softmax, per temperature, and directly.
struct Slopes {
    real through[SOFTS > 0 ? SOFTS : 1];
    real direct;
};

//@ plan

INLINE real logit(const Arguments &a, long long n, long long k, long long s) {
    return LOGIT(n * a.logits.n + k * a.logits.k + s * a.logits.s);
}

/// Weight and own class of a pixel.
INLINE void read_target(const Arguments &a, long long n, long long s, Pixel &x) {
    x.weight = 1;
#if WEIGHTED
    x.weight = WEIGHT(n * a.weights.n + s * a.weights.s);
#endif
    x.own = -1;
#if LABELS
    const long long label = LABEL(n * a.target.n + s * a.target.s);
    for (int i = 0; i < IGNORED; i++) {
        if (label == a.ignored[i]) x.weight = 0;
    }
    // A single channel is the class 1; its background has no channel of its own.
    const long long first = CLASSES == 1 ? 1 : 0;
    if (label >= first && label < CLASSES + first) x.own = label - first;
#endif
}

/// y of a class.
INLINE real share(const Arguments &a, long long n, long long k, long long s, const Pixel &x) {
#if LABELS
    return k == x.own ? 1 : 0;
#else
    // Beyond what rounding does, `validate` says so.
    const real y = SHARE(n * a.target.n + k * a.target.k + s * a.target.s);
    return y < 0 ? 0 : y > 1 ? 1 : y;
#endif
}

/// What softmax needs of all logits, which `z(k)` gives. The largest one's own summand is 1: kept
/// apart, a rest far below 1 loses nothing.
template <class Z> INLINE void read_classes(const Arguments &a, Z z, Pixel &x) {
#if SOFTS > 0
    x.largest = z(0);
    x.top = 0;
    UNROLL for (long long k = 1; k < CLASSES; k++) {
        const real at = z(k);
        if (at > x.largest) {
            x.largest = at;
            x.top = k;
        }
    }
    real rest[SOFTS];
    UNROLL for (int t = 0; t < SOFTS; t++) rest[t] = 0;
    UNROLL for (long long k = 0; k < CLASSES; k++) {
        real power[SOFTS];
        // The difference first: τ·z may overflow.
        soft_powers(z(k) - x.largest, power);
        UNROLL for (int t = 0; t < SOFTS; t++) rest[t] += k == x.top ? 0 : power[t];
    }
    UNROLL for (int t = 0; t < SOFTS; t++) x.inverse[t] = 1 / (1 + rest[t]);
    x.log_sum = LOG_SOFT >= 0 ? LOG1P(rest[LOG_SOFT >= 0 ? LOG_SOFT : 0]) : 0;
#endif
}

INLINE void evaluate(real z, const Pixel &x, Values &v) {
#if SOFTS > 0
    real power[SOFTS];
    soft_powers(z - x.largest, power);
    UNROLL for (int t = 0; t < SOFTS; t++) v.soft[t] = power[t] * x.inverse[t];
    if (LOG_SOFT >= 0) v.log_soft = (z - x.largest) - x.log_sum;
#endif
    sigmoids(z, v);
}

// ------------------------------------------------------------------------------------------------
// Statistics

/// Where a block keeps the sum of a row.
INLINE double *partial(const Arguments &a, long long n, long long block, long long row) {
    return a.partials + (n * ROWS + row) * a.blocks + block;
}

/// The sum over a warp, which the first lane has.
INLINE double warp_sum(double x) {
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_down_sync(0xffffffffu, x, offset);
    return x;
}

/// Adds up columns of all threads, a warp to a row, always in the same order. `row(i)` is where row
/// i of them belongs, negative for nowhere.
template <class Row>
INLINE void add_rows(const Arguments &a, long long n, long long block, const real *columns, int count,
                     bool again, Row row) {
    __syncthreads();
    const int lane = threadIdx.x % 32;
    for (int i = threadIdx.x / 32; i < count; i += WARPS) {
        double sum = 0;
        for (int j = lane; j < THREADS; j += 32) sum += columns[i * THREADS + j];
        sum = warp_sum(sum);
        if (lane == 0 && row(i) >= 0) {
            double *to = partial(a, n, block, row(i));
            *to = again ? *to + sum : sum;
        }
    }
    __syncthreads();
}

/// The same for one number of each thread.
INLINE void add_numbers(const Arguments &a, long long n, long long block, double x, double *shared,
                        long long row) {
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < WARPS; i++) x += shared[i];
        *partial(a, n, block, row) = x;
    }
}

#if HELD

/// Few classes: a thread holds the logits of its pixel and the sums of all its pixels.
extern "C" __global__ void __launch_bounds__(THREADS) sum_pixels(const Arguments a) {
    __shared__ real columns[BATCH * THREADS];
    __shared__ real own_sums[(OWN > 0 ? OWN * CLASSES : 1) * THREADS];
    __shared__ double shared[WARPS];
    const long long n = blockIdx.x / a.blocks, block = blockIdx.x % a.blocks;
    const int thread = threadIdx.x;

    real sums[EACH > 0 ? EACH * CLASSES : 1];
    UNROLL for (int i = 0; i < EACH * CLASSES; i++) sums[i] = 0;
    for (int i = 0; i < OWN * CLASSES; i++) own_sums[i * THREADS + thread] = 0;
    double valid = 0;
    // 0, or NaN once something is not finite where a pixel counts.
    real poison = 0;
    int run = 0;
    bool again = false;

    // All threads go round as often: they meet where sums are added up.
    for (long long start = block * THREADS; start < a.pixels; start += a.blocks * THREADS) {
        const long long s = start + thread;
        Pixel x;
        x.weight = 0;
        if (s < a.pixels) read_target(a, n, s, x);
        if (x.weight != 0) {
            real z[CLASSES];
            UNROLL for (int k = 0; k < CLASSES; k++) z[k] = logit(a, n, k, s);
            UNROLL for (int k = 0; k < CLASSES; k++) poison += z[k] * 0;
            read_classes(a, [&](long long k) { return z[k]; }, x);
            valid += x.weight;
            poison += x.weight * 0;
            Maps m;
            read_narrow_maps(a, n, s, m, poison);
            UNROLL for (int k = 0; k < CLASSES; k++) {
                read_wide_maps(a, n, k, s, m, poison);
                if (EACH > 0) {
                    Values v;
                    evaluate(z[k], x, v);
                    add_each(v, x.weight, share(a, n, k, s, x), m, sums + k);
                }
            }
            if (OWN > 0 && x.own >= 0) {
                // Once more from memory, where the cache has it: a register has no index.
                Values v;
                evaluate(logit(a, n, x.own, s), x, v);
                read_wide_maps(a, n, x.own, s, m, poison);
                add_own(v, x.weight, m, own_sums + x.own * THREADS + thread);
            }
        }
        run++;
        if (run == RUN || start + a.blocks * THREADS >= a.pixels) {
            UNROLL for (int first = 0; first < EACH * CLASSES; first += BATCH) {
                UNROLL for (int i = 0; i < BATCH; i++) {
                    if (first + i < EACH * CLASSES) {
                        columns[i * THREADS + thread] = sums[first + i];
                        sums[first + i] = 0;
                    }
                }
                const int left = EACH * CLASSES - first;
                const int count = left < BATCH ? left : BATCH;
                add_rows(a, n, block, columns, count, again, [&](int i) { return first + i; });
            }
            if (OWN > 0) {
                const int before = EACH * CLASSES;
                add_rows(a, n, block, own_sums, OWN * CLASSES, again, [&](int i) { return before + i; });
                for (int i = 0; i < OWN * CLASSES; i++) own_sums[i * THREADS + thread] = 0;
            }
            run = 0;
            again = true;
        }
    }
    add_numbers(a, n, block, valid, shared, ROWS - 2);
    add_numbers(a, n, block, poison, shared, ROWS - 1);
}

#else

/// Pixels of a thread whose normalisers it keeps.
#define PIXELS 4

/// Many classes: some of them at a time, whose logits are read again where the cache has them.
extern "C" __global__ void __launch_bounds__(THREADS) sum_pixels(const Arguments a) {
    __shared__ real columns[SUMS > 0 ? SUMS * BATCH * THREADS : 1];
    __shared__ double shared[WARPS];
    const long long n = blockIdx.x / a.blocks, block = blockIdx.x % a.blocks;
    const int thread = threadIdx.x;
    double valid = 0;
    real poison = 0;
    bool again = false;

    const long long step = PIXELS * THREADS;
    for (long long start = block * step; start < a.pixels; start += a.blocks * step) {
        Pixel x[PIXELS];
        Maps m[PIXELS];
        for (int j = 0; j < PIXELS; j++) {
            const long long s = start + j * THREADS + thread;
            x[j].weight = 0;
            if (s < a.pixels) read_target(a, n, s, x[j]);
            if (x[j].weight != 0) {
                read_classes(a, [&](long long k) { return logit(a, n, k, s); }, x[j]);
                read_narrow_maps(a, n, s, m[j], poison);
                valid += x[j].weight;
                poison += x[j].weight * 0;
            }
        }
        for (long long first = 0; first < CLASSES; first += BATCH) {
            real sums[SUMS > 0 ? SUMS * BATCH : 1];
            UNROLL for (int i = 0; i < SUMS * BATCH; i++) sums[i] = 0;
            for (int j = 0; j < PIXELS; j++) {
                const long long s = start + j * THREADS + thread;
                if (x[j].weight == 0) continue;
                UNROLL for (int i = 0; i < BATCH; i++) {
                    const long long k = first + i;
                    if (k < CLASSES) {
                        const real z = logit(a, n, k, s);
                        poison += z * 0;
                        Values v;
                        evaluate(z, x[j], v);
                        read_wide_maps(a, n, k, s, m[j], poison);
                        add_each(v, x[j].weight, share(a, n, k, s, x[j]), m[j], sums + i);
                    }
                }
            }
            UNROLL for (int i = 0; i < SUMS * BATCH; i++) columns[i * THREADS + thread] = sums[i];
            add_rows(a, n, block, columns, SUMS * BATCH, again, [&](int i) {
                const long long k = first + i % BATCH;
                return k < CLASSES ? i / BATCH * CLASSES + k : -1;
            });
        }
        again = true;
    }
    add_numbers(a, n, block, valid, shared, ROWS - 2);
    add_numbers(a, n, block, poison, shared, ROWS - 1);
}

#endif

/// Adds up the blocks of each sample, a warp to a row, always in the same order. Sums of logarithms
/// saturate instead of overflowing; NaN stays.
extern "C" __global__ void __launch_bounds__(THREADS) sum_blocks(const Arguments a) {
    const long long rows = SUMS * CLASSES + 1;
    const long long at = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    if (at >= a.samples * rows) return;
    const long long n = at / rows, row = at % rows;
    double sum = 0, poison = 0;
    for (long long block = threadIdx.x % 32; block < a.blocks; block += 32) {
        sum += *partial(a, n, block, row);
        poison += *partial(a, n, block, ROWS - 1);
    }
    sum = warp_sum(sum);
    poison = warp_sum(poison);
    if (threadIdx.x % 32 != 0) return;
    const long long i = row / CLASSES, k = row % CLASSES;
    if (is_logarithm(i)) sum *= LOGARITHMS_IN;
    if (sum > LARGEST_SUM) sum = LARGEST_SUM;
    if (sum < -LARGEST_SUM) sum = -LARGEST_SUM;
    a.statistics[(i * a.samples + n) * CLASSES + k] = sum + poison;
}

// ------------------------------------------------------------------------------------------------
// Gradient

INLINE real *gradient(const Arguments &a, long long n, long long k, long long s) {
    return a.gradient + (n * CLASSES + k) * a.pixels + s;
}

INLINE void no_slopes(Slopes &g) {
    UNROLL for (int t = 0; t < SOFTS; t++) g.through[t] = 0;
    g.direct = 0;
}

/// What comes back through the softmax: Σ_t τ(g − p Σ g).
INLINE real through_softmax(const Slopes &g, const Slopes &totals, const Values &v) {
    real out = 0;
#if SOFTS > 0
    real each[SOFTS];
    UNROLL for (int t = 0; t < SOFTS; t++) each[t] = g.through[t] - v.soft[t] * totals.through[t];
    out = times_temperatures(each);
#endif
    return out;
}

#if HELD

extern "C" __global__ void __launch_bounds__(THREADS) pull_back(const Arguments a) {
    // What comes back, as the slopes are multiplied by it: [SLOPES, CLASSES].
    __shared__ real upstream[SLOPES > 0 ? SLOPES * CLASSES : 1];
    const long long n = blockIdx.x / a.blocks, block = blockIdx.x % a.blocks;
    for (int i = threadIdx.x; i < SLOPES * CLASSES; i += THREADS) {
        upstream[i] = (real)a.upstream[(i / CLASSES * a.samples + n) * CLASSES + i % CLASSES];
    }
    __syncthreads();
    for (long long start = block * THREADS; start < a.pixels; start += a.blocks * THREADS) {
        const long long s = start + threadIdx.x;
        if (s >= a.pixels) break;
        Pixel x;
        read_target(a, n, s, x);
        if (x.weight == 0) {
            UNROLL for (int k = 0; k < CLASSES; k++) *gradient(a, n, k, s) = 0;
            continue;
        }
        real z[CLASSES];
        UNROLL for (int k = 0; k < CLASSES; k++) z[k] = logit(a, n, k, s);
        read_classes(a, [&](long long k) { return z[k]; }, x);
        Maps m;
        real poison = 0;
        read_narrow_maps(a, n, s, m, poison);
        // What the pixel's own class adds.
        Slopes own, totals;
        no_slopes(own);
        if (OWN > 0 && x.own >= 0) {
            Values v;
            evaluate(logit(a, n, x.own, s), x, v);
            read_wide_maps(a, n, x.own, s, m, poison);
            own_slopes(v, x.weight, m, upstream + x.own, CLASSES, own);
        }
        totals = own;
        Values v[CLASSES];
        Slopes g[CLASSES];
        UNROLL for (int k = 0; k < CLASSES; k++) {
            evaluate(z[k], x, v[k]);
            no_slopes(g[k]);
            read_wide_maps(a, n, k, s, m, poison);
            each_slopes(v[k], x.weight, share(a, n, k, s, x), m, upstream + k, CLASSES, g[k]);
            UNROLL for (int t = 0; t < SOFTS; t++) {
                totals.through[t] += g[k].through[t];
                g[k].through[t] += k == x.own ? own.through[t] : 0;
            }
            g[k].direct += k == x.own ? own.direct : 0;
        }
        // The likeliest class's is minus the sum of the others': by itself its difference would
        // cancel where p is nearly 1.
        real others = 0, out[CLASSES];
        UNROLL for (int k = 0; k < CLASSES; k++) {
            out[k] = through_softmax(g[k], totals, v[k]);
            others += SOFTS > 0 && k != x.top ? out[k] : 0;
        }
        UNROLL for (int k = 0; k < CLASSES; k++) {
            *gradient(a, n, k, s) = (SOFTS > 0 && k == x.top ? -others : out[k]) + g[k].direct;
        }
    }
}

#else

extern "C" __global__ void __launch_bounds__(THREADS) pull_back(const Arguments a) {
    const long long n = blockIdx.x / a.blocks, block = blockIdx.x % a.blocks;
    const double *upstream = a.upstream + n * CLASSES;
    const long long stride = a.samples * CLASSES;
    for (long long start = block * THREADS; start < a.pixels; start += a.blocks * THREADS) {
        const long long s = start + threadIdx.x;
        if (s >= a.pixels) break;
        Pixel x;
        read_target(a, n, s, x);
        if (x.weight == 0) {
            for (long long k = 0; k < CLASSES; k++) *gradient(a, n, k, s) = 0;
            continue;
        }
        read_classes(a, [&](long long k) { return logit(a, n, k, s); }, x);
        Maps m;
        real poison = 0;
        read_narrow_maps(a, n, s, m, poison);
        Slopes totals;
        no_slopes(totals);
        if (SOFTS > 0) {
            for (long long k = 0; k < CLASSES; k++) {
                Values v;
                evaluate(logit(a, n, k, s), x, v);
                read_wide_maps(a, n, k, s, m, poison);
                each_slopes(v, x.weight, share(a, n, k, s, x), m, upstream + k, stride, totals);
            }
        }
        real others = 0, at_top = 0;
        for (long long k = 0; k < CLASSES; k++) {
            Values v;
            evaluate(logit(a, n, k, s), x, v);
            read_wide_maps(a, n, k, s, m, poison);
            Slopes g;
            no_slopes(g);
            each_slopes(v, x.weight, share(a, n, k, s, x), m, upstream + k, stride, g);
            const real out = through_softmax(g, totals, v);
            if (SOFTS > 0 && k == x.top) {
                at_top = g.direct;
            } else {
                others += out;
                *gradient(a, n, k, s) = out + g.direct;
            }
        }
        if (SOFTS > 0) *gradient(a, n, x.top, s) = at_top - others;
    }
}

#endif
