/* Run a function on several threads at once: PyTorch's own, where they are there.
 *
 * PyTorch's threads wait for its next operation in a loop, for some milliseconds after each. Threads beside them would
 * share the cores with them, and a render of some milliseconds would take up to twice as long.
 */
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

enum { MAX_THREADS = 256 };

#if defined(__linux__)
/* OpenMP's: what "#pragma omp parallel" calls. It is found in the library that PyTorch has loaded; there is none where
 * PyTorch was built otherwise. */
extern void GOMP_parallel(void (*work)(void *), void *argument, unsigned threads, unsigned flags) __attribute__((weak));
#else
static void (*const GOMP_parallel)(void (*)(void *), void *, unsigned, unsigned) = NULL;
#endif

static pid_t loaded_by;
__attribute__((constructor)) static void remember_the_process(void) { loaded_by = getpid(); }

struct call {
    void (*work)(void *);
    void *argument;
};

static void *made_call(void *of) {
    const struct call *call = of;
    call->work(call->argument);
    return NULL;
}

/* Fewer threads than asked for take part where no more can be started. */
static void in_parallel(void (*work)(void *), void *argument, int64_t threads) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads < 2) work(argument);
    else if (GOMP_parallel && getpid() == loaded_by) /* the threads are not there in a forked process */
        GOMP_parallel(work, argument, (unsigned)threads, 0);
    else {
        pthread_t others[MAX_THREADS];
        struct call call = {work, argument};
        int64_t started = 0;
        while (started < threads - 1 && !pthread_create(&others[started], NULL, made_call, &call)) started++;
        work(argument);
        while (started) pthread_join(others[--started], NULL);
    }
}
