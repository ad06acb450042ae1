// Runs kernels on the CPU, block after block. The threads of a block are fibers: each runs until it
// has to wait for others, at __syncthreads() or in a shuffle, and then hands over to the next. In
// which order they go changes from wait to wait, so that a kernel that lacks a wait reads what is
// not there yet.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

struct Index {
    unsigned x;
};

namespace {

const size_t STACK = 256 << 10;
const unsigned LANES = 32;

enum State { READY, MEETING, SHUFFLING, DONE };

struct Fiber {
    void *stack_pointer;
    ucontext_t context;
    State state;
    Index index;
    double given;
    unsigned offset;
};

struct Machine {
    std::vector<Fiber> fibers;
    std::vector<char *> stacks;
    Fiber *now;
    void *stack_pointer;
    ucontext_t context;
    Index block;
    void (*kernel)(const void *);
    const void *arguments;
    uint64_t order;
};

thread_local Machine machine;

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "a kernel on the CPU: %s\n", what);
    std::abort();
}

void run_fiber();

#if defined(__x86_64__)

// Saves what a call must keep on the stack, and goes on with another stack. The library's own
// swapcontext asks the system twice each time, which takes a hundred times as long.
extern "C" void shim_switch(void **from, void *to);
asm(R"(
.text
.globl shim_switch
.hidden shim_switch
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

void prepare(Fiber &fiber, char *stack) {
    uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + STACK) & ~uintptr_t(15);
    void **at = reinterpret_cast<void **>(top);
    // Where run_fiber would return to, which it never does; it begins as after a call.
    *--at = nullptr;
    *--at = reinterpret_cast<void *>(&run_fiber);
    for (int i = 0; i < 6; i++) *--at = nullptr;
    fiber.stack_pointer = at;
}

void go_on(Fiber &fiber) { shim_switch(&machine.stack_pointer, fiber.stack_pointer); }
void hand_over(Fiber &fiber) { shim_switch(&fiber.stack_pointer, machine.stack_pointer); }

#else

void prepare(Fiber &fiber, char *stack) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
}

void go_on(Fiber &fiber) { swapcontext(&machine.context, &fiber.context); }
void hand_over(Fiber &fiber) { swapcontext(&fiber.context, &machine.context); }

#endif

void run_fiber() {
    Machine &m = machine;
    m.kernel(m.arguments);
    m.now->state = DONE;
    hand_over(*m.now);
    fail("a thread that ended goes on");
}

/// Where a warp's threads all wait in a shuffle, they exchange their numbers.
void shuffle(Machine &m, size_t warp) {
    Fiber *lanes = &m.fibers[warp * LANES];
    for (unsigned i = 0; i < LANES; i++) {
        if (lanes[i].state != SHUFFLING) return;
        if (lanes[i].offset != lanes[0].offset) fail("a warp shuffles by different offsets");
    }
    double given[LANES];
    for (unsigned i = 0; i < LANES; i++) given[i] = lanes[i].given;
    for (unsigned i = 0; i < LANES; i++) {
        const unsigned from = i + lanes[i].offset;
        if (from < LANES) lanes[i].given = given[from];
        lanes[i].state = READY;
    }
}

void run_block(Machine &m, unsigned threads) {
    for (unsigned i = 0; i < threads; i++) {
        m.fibers[i].state = READY;
        m.fibers[i].index.x = i;
        prepare(m.fibers[i], m.stacks[i]);
    }
    for (;;) {
        // Some permutation: a number that has no factor in common with a power of two goes through
        // all of them.
        m.order = m.order * 6364136223846793005u + 1442695040888963407u;
        const unsigned first = unsigned(m.order >> 33), step = unsigned(m.order >> 40) | 1;
        bool any = false;
        for (unsigned i = 0; i < threads; i++) {
            Fiber &fiber = m.fibers[(first + i * step) % threads];
            if (fiber.state != READY) continue;
            any = true;
            m.now = &fiber;
            go_on(fiber);
        }
        for (unsigned warp = 0; warp < threads / LANES; warp++) shuffle(m, warp);
        unsigned ready = 0, meeting = 0, done = 0;
        for (unsigned i = 0; i < threads; i++) {
            ready += m.fibers[i].state == READY;
            meeting += m.fibers[i].state == MEETING;
            done += m.fibers[i].state == DONE;
        }
        if (done == threads) return;
        if (meeting == threads) {
            for (unsigned i = 0; i < threads; i++) m.fibers[i].state = READY;
        } else if (!any || (ready == 0 && meeting + done == threads)) {
            fail("threads wait for others that never come");
        }
    }
}

} // namespace

extern "C" const Index *shim_thread() { return &machine.now->index; }
extern "C" const Index *shim_block() { return &machine.block; }

extern "C" void shim_meet() {
    Fiber *now = machine.now;
    now->state = MEETING;
    hand_over(*now);
}

extern "C" double shim_shuffle_down(unsigned lanes, double x, unsigned offset) {
    if (lanes != 0xffffffffu) fail("a shuffle of a part of a warp");
    Fiber *now = machine.now;
    now->state = SHUFFLING;
    now->given = x;
    now->offset = offset;
    hand_over(*now);
    return now->given;
}

extern "C" void shim_launch(void (*kernel)(const void *), const void *arguments, unsigned blocks,
                            unsigned threads) {
    // A power of two, so that every odd step goes through all threads.
    if (threads % LANES != 0 || (threads & (threads - 1)) != 0) fail("a block of so many threads");
    Machine &m = machine;
    m.fibers.resize(threads);
    while (m.stacks.size() < threads) m.stacks.push_back(static_cast<char *>(std::malloc(STACK)));
    m.kernel = kernel;
    m.arguments = arguments;
    for (unsigned block = 0; block < blocks; block++) {
        m.block.x = block;
        run_block(m, threads);
    }
}
