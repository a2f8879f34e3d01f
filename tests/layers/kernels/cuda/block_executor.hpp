// Runs the blocks of a kernel on the CPU, one after the other: the threads of a block are fibers
// (Boost.Context) that take turns at barriers and at what a warp does together.
//
// What is wrong on a GPU fails here in words (EmulationError): a barrier or a warp's operation that
// not all of its threads reach, or reach in different places; a misaligned vector; shared memory
// beyond what was asked for (under the address sanitizer). Shared memory starts as NaNs. The order
// in which threads take turns can be turned round, and copies to shared memory can arrive early or
// late: results that then differ miss a barrier or a wait. With a RaceChecker, which is told of
// every access by code that is compiled for it (memory_accesses.cpp), a missing one is found as
// such.
#pragma once

#include "tests/layers/kernels/cuda/race_checker.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace sluice::testing {

class EmulationError : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

enum class ThreadOrder { ascending, descending };
/// When copies to shared memory arrive: as late as they may (when waited for), or at once.
enum class CopyArrival { late, early };

class BlockExecutor {
public:
    struct Block {
        std::int64_t x, y;
        int num_threads;
        std::size_t shared_bytes;
    };

    explicit BlockExecutor(ThreadOrder order = ThreadOrder::ascending,
                           CopyArrival arrival = CopyArrival::late, RaceChecker* races = nullptr)
        : order_(order), arrival_(arrival), races_(races)
    {
    }
    ~BlockExecutor();

    /// Blocks that are run from here on come after those before: a kernel's end lies between.
    void begin_launch();
    void run(const Block& block, const std::function<void()>& body);

    // For the vocabulary, called by the thread that is running; it belongs to this executor:
    static BlockExecutor& current() { return *running_; }
    /// The same, or nothing where no block runs.
    static BlockExecutor* running() { return running_; }
    int thread() const { return thread_; }
    const Block& block() const { return block_; }
    void* shared_memory() { return shared_.get(); }
    std::size_t shared_bytes() const { return block_.shared_bytes; }

    /// Waits for all threads of the block.
    void barrier();
    /// Waits for all threads of the warp, and orders their memory.
    void warp_barrier();
    /// Waits for all 32 threads of the warp, each with `own` (alive until everyone has left); the
    /// last to come calls `work` with all 32 pointers, in the order of lanes. `name` must agree.
    void together(const char* name, void* own, void (*work)(void* const*));

    void copy_later(void* to, const void* from, std::size_t num_bytes, bool wanted);
    void commit_copies();
    void wait_for_copies(int groups_left);

    /// For the race checker; `place` lies in the code behind the access.
    void note_access(const void* memory, std::size_t num_bytes, bool write, const void* place);
    /// What this thread gives the address of and its whole warp reads.
    void note_warp_read(const void* memory, std::size_t num_bytes, const void* place);

private:
    struct Copy {
        void* to;
        const void* from;
        std::size_t num_bytes;
        bool wanted, arrived;
        void arrive();
    };
    /// What can be left and gone on with: a thread, or whoever runs the block.
    struct Context {
        boost::context::fiber context; ///< empty while it runs
        const void* stack_bottom = nullptr;
        std::size_t stack_size = 0;
        void* sanitizer_state = nullptr;
    };
    struct Fiber : Context {
        bool running = false; ///< has a body to run or is in the middle of it
        const char* waits_for = nullptr;
        std::int64_t num_barriers = 0, num_together = 0;
        Moment moment; ///< now, for the race checker
        void* own = nullptr;
        std::vector<std::vector<Copy>> copies; ///< the last group is still open
    };
    /// Whose turn it is: the next position, in the order of turns.
    struct Turn {
        int warp = 0, lane = 0;
        bool warp_ran = false, any_ran = false; ///< in this round of its lanes, of all warps
    };
    static constexpr int nobody = -1;
    struct Warp {
        int num_waiting = 0;
        std::int64_t num_done = 0;
        const char* name = nullptr;
    };

    const Moment& now(const void* place);
    Fiber& running_fiber() { return *fibers_[static_cast<std::size_t>(thread_)]; }
    void make_fiber(int thread);
    void run_body(Fiber& fiber);
    void resume(int thread);
    /// Leaves `own` for a thread, or for the scheduler where that is nobody.
    void switch_from(Context& own, int thread);
    /// Behind every switch, to `own`.
    void arrive(Context& own, boost::context::fiber&& left);
    void give_way(Fiber& fiber);
    bool may_run(int thread) const;
    /// Warps take turns, each until all of its threads wait. Nobody: none can run, or one has
    /// failed.
    int next_thread();
    void run_all();
    void unwind();
    std::string who_waits() const;

    static inline BlockExecutor* running_ = nullptr;

    ThreadOrder order_;
    CopyArrival arrival_;
    RaceChecker* races_;
    bool works_together_ = false; ///< what runs is a warp's work, not a thread's
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Warp> warps_;
    Context scheduler_;
    Context* left_ = nullptr; ///< by the last switch
    Turn turn_;
    const std::function<void()>* body_ = nullptr;
    std::exception_ptr failure_;
    bool unwinding_ = false, closing_ = false;

    Block block_{};
    int thread_ = 0;
    struct Release {
        void operator()(std::byte* memory) const;
    };
    std::unique_ptr<std::byte[], Release> shared_;
    int num_at_barrier_ = 0;
    std::int64_t num_barriers_done_ = 0;
};

} // namespace sluice::testing
