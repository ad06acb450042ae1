// The algebra of a loss on its statistics, and its derivative: steps that `algebra.rs` has
// recorded, run by one block in f64. An array has `samples` rows or one, and `classes` columns or
// one.
//
// A step is a word: from the lowest bits its operation (8 bits), which of its arrays have rows and
// columns (8), and where the result and the two arguments lie (16 each). THREADS and WORDS come
// before this text.

struct Arguments {
    /// All arrays.
    double *numbers;
    long long samples, classes, count;
    unsigned long long words[WORDS];
};

/// The operations: as `code` of `algebra.rs` numbers them.
enum Code { FILL, COPY, COLUMN, NEG, ABS, SIGN, EXP, EXPM1, LN, POW, ADD, SUB, MUL, DIV, MAX, GREATER, SUM_SAMPLES, SUM_CLASSES };

static __device__ __forceinline__ double apply(int code, double x, double y) {
    switch (code) {
    case NEG: return -x;
    case ABS: return fabs(x);
    case SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    case EXP: return exp(x);
    case EXPM1: return expm1(x);
    case LN: return log(x);
    case POW: return pow(x, y);
    case ADD: return x + y;
    case SUB: return x - y;
    case MUL: return x * y;
    case DIV: return x / y;
    // Keeps a NaN in x.
    case MAX: return x > y || x != x ? x : y;
    case GREATER: return x > y ? 1 : 0;
    default: return x;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) run_steps(const Arguments a) {
    for (long long step = 0; step < a.count; step++) {
        const unsigned long long word = a.words[step];
        const int code = word & 255, shape = word >> 8 & 255;
        double *to = a.numbers + (word >> 16 & 65535);
        const double *x = a.numbers + (word >> 32 & 65535), *y = a.numbers + (word >> 48 & 65535);
        const long long rows = shape & 1 ? a.samples : 1, columns = shape & 2 ? a.classes : 1;
        const long long x_columns = shape & 8 ? a.classes : 1, y_columns = shape & 32 ? a.classes : 1;
        union {
            unsigned long long bits;
            double number;
        } fill;
        // A number is a word of its own.
        if (code == FILL) fill.bits = a.words[++step];
        for (long long i = threadIdx.x; i < rows * columns; i += THREADS) {
            const long long row = i / columns, column = i % columns;
            if (code == FILL) {
                to[i] = fill.number;
            } else if (code == COLUMN) {
                to[i] = x[row * a.classes];
            } else if (code == SUM_SAMPLES) {
                double sum = 0;
                for (long long n = 0; n < (shape & 4 ? a.samples : 1); n++) sum += x[n * x_columns + column];
                to[i] = sum;
            } else if (code == SUM_CLASSES) {
                double sum = 0;
                for (long long k = 0; k < x_columns; k++) sum += x[row * x_columns + k];
                to[i] = sum;
            } else {
                const long long x_at = (shape & 4 ? row * x_columns : 0) + (shape & 8 ? column : 0);
                const long long y_at = (shape & 16 ? row * y_columns : 0) + (shape & 32 ? column : 0);
                to[i] = apply(code, x[x_at], y[y_at]);
            }
        }
        __syncthreads();
    }
}
