// CUDA's words for a compiler of the CPU: put before a source of the kernels. `run.cpp` runs them.

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
// One block runs at a time on a thread of the host.
#define __shared__ static thread_local
#define threadIdx (*shim_thread())
#define blockIdx (*shim_block())
#define __syncthreads() shim_meet()
#define __shfl_down_sync(lanes, x, offset) shim_shuffle_down(lanes, x, offset)

struct Index {
    unsigned x;
};

extern "C" {
const Index *shim_thread();
const Index *shim_block();
void shim_meet();
double shim_shuffle_down(unsigned lanes, double x, unsigned offset);

float expf(float);
float expm1f(float);
float logf(float);
float log1pf(float);
float powf(float, float);
float sqrtf(float);
float fabsf(float);
double exp(double);
double expm1(double);
double log(double);
double log1p(double);
double pow(double, double);
double sqrt(double);
double fabs(double);
}
