#include "tests/layers/kernels/cuda/block_executor.hpp"

#include "tests/layers/kernels/cuda/source_place.hpp"

#include <boost/context/preallocated.hpp>
#include <cstring>
#include <new>
#include <sstream>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace sluice::testing {

namespace {

constexpr std::size_t stack_bytes = std::size_t{128} << 10;
constexpr std::size_t shared_alignment = 128;
constexpr int warp_size = 32;
constexpr std::size_t cache_line = 64, page = 4096;

/// Ends a body early, after another one failed.
struct Unwound {};

void count(std::uint16_t& barriers)
{
    if (++barriers == 0)
        throw EmulationError("a thread passes more barriers than are counted");
}

// The address sanitizer is told of every change of stacks.
void leave_stack([[maybe_unused]] void** state, [[maybe_unused]] const void* bottom,
                 [[maybe_unused]] std::size_t size)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(state, bottom, size);
#endif
}
void enter_stack([[maybe_unused]] void* state, [[maybe_unused]] const void** bottom,
                 [[maybe_unused]] std::size_t* size)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(state, bottom, size);
#endif
}

} // namespace

void BlockExecutor::Release::operator()(std::byte* memory) const
{
    ::operator delete[](memory, std::align_val_t{shared_alignment});
}

BlockExecutor::~BlockExecutor()
{
    closing_ = true;
    for (std::size_t i = 0; i < fibers_.size(); ++i)
        resume(static_cast<int>(i));
}

void BlockExecutor::make_fiber(int thread)
{
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    boost::context::fixedsize_stack allocator(stack_bytes);
    const boost::context::stack_context stack = allocator.allocate();
    fiber.stack_bottom = static_cast<const std::byte*>(stack.sp) - stack.size;
    fiber.stack_size = stack.size;
    // Stacks that all begin at the same place in their pages would share a few sets of the cache.
    const std::size_t skipped = static_cast<std::size_t>(thread) * 5 * cache_line % page;
    fiber.context = boost::context::fiber(
        std::allocator_arg,
        boost::context::preallocated(static_cast<std::byte*>(stack.sp) - skipped,
                                     stack.size - skipped, stack),
        allocator, [this, &fiber](boost::context::fiber&& left) {
            arrive(fiber, std::move(left));
            while (!closing_) {
                run_body(fiber);
                switch_from(fiber, next_thread());
            }
            left_ = &fiber;
            leave_stack(nullptr, scheduler_.stack_bottom, scheduler_.stack_size);
            return std::move(scheduler_.context);
        });
}

void BlockExecutor::run_body(Fiber& fiber)
{
    try {
        (*body_)();
    } catch (const Unwound&) {
    } catch (...) {
        failure_ = std::current_exception();
    }
    fiber.running = false;
}

void BlockExecutor::switch_from(Context& own, int thread)
{
    Context& next = thread == nobody ? scheduler_ : *fibers_[static_cast<std::size_t>(thread)];
    thread_ = thread;
    left_ = &own;
    leave_stack(&own.sanitizer_state, next.stack_bottom, next.stack_size);
    arrive(own, std::move(next.context).resume());
}

void BlockExecutor::arrive(Context& own, boost::context::fiber&& left)
{
    left_->context = std::move(left);
    enter_stack(own.sanitizer_state, &left_->stack_bottom, &left_->stack_size);
}

void BlockExecutor::resume(int thread) { switch_from(scheduler_, thread); }

void BlockExecutor::give_way(Fiber& fiber)
{
    switch_from(fiber, next_thread());
    if (unwinding_)
        throw Unwound{};
}

void BlockExecutor::barrier()
{
    Fiber& fiber = running_fiber();
    ++fiber.num_barriers;
    if (++num_at_barrier_ == block_.num_threads) {
        num_at_barrier_ = 0;
        ++num_barriers_done_;
    } else {
        fiber.waits_for = "barrier";
        while (fiber.num_barriers > num_barriers_done_)
            give_way(fiber);
        fiber.waits_for = nullptr;
    }
    count(fiber.moment.barriers);
}

void BlockExecutor::warp_barrier()
{
    together("warp_barrier", nullptr, [](void* const*) {});
    count(running_fiber().moment.warp_barriers);
}

void BlockExecutor::together(const char* name, void* own, void (*work)(void* const*))
{
    Fiber& fiber = running_fiber();
    const int first = thread_ / warp_size * warp_size;
    Warp& warp = warps_[static_cast<std::size_t>(thread_ / warp_size)];
    if (warp.num_waiting > 0 && warp.name != name && std::strcmp(warp.name, name) != 0)
        throw EmulationError("thread " + std::to_string(thread_) + " is at " + name +
                             ", others of its warp at " + warp.name);
    warp.name = name;
    fiber.own = own;
    ++fiber.num_together;
    if (++warp.num_waiting == warp_size) {
        void* all[warp_size];
        for (int lane = 0; lane < warp_size; ++lane)
            all[lane] = fibers_[static_cast<std::size_t>(first + lane)]->own;
        works_together_ = true;
        work(all);
        works_together_ = false;
        warp.num_waiting = 0;
        ++warp.num_done;
    } else {
        fiber.waits_for = name;
        while (fiber.num_together > warp.num_done)
            give_way(fiber);
        fiber.waits_for = nullptr;
    }
}

void BlockExecutor::Copy::arrive()
{
    if (wanted)
        std::memcpy(to, from, num_bytes);
    else
        std::memset(to, 0, num_bytes);
    arrived = true;
}

void BlockExecutor::copy_later(void* to, const void* from, std::size_t num_bytes, bool wanted)
{
    Copy copy{.to = to, .from = from, .num_bytes = num_bytes, .wanted = wanted, .arrived = false};
    if (arrival_ == CopyArrival::early)
        copy.arrive();
    if (races_) {
        const Moment moment = now(__builtin_return_address(0));
        if (wanted)
            races_->read(from, num_bytes, moment);
        races_->begin_copy(to, num_bytes, moment);
    }
    running_fiber().copies.back().push_back(copy);
}

void BlockExecutor::commit_copies() { running_fiber().copies.emplace_back(); }

void BlockExecutor::wait_for_copies(int groups_left)
{
    auto& copies = running_fiber().copies;
    while (copies.size() > static_cast<std::size_t>(groups_left) + 1) {
        for (Copy& copy : copies.front()) {
            if (!copy.arrived)
                copy.arrive();
            if (races_)
                races_->end_copy(copy.to, copy.num_bytes, now(__builtin_return_address(0)));
        }
        copies.erase(copies.begin());
    }
}

const Moment& BlockExecutor::now(const void* place)
{
    Moment& moment = running_fiber().moment;
    moment.place = code_offset(place);
    return moment;
}

void BlockExecutor::note_access(const void* memory, std::size_t num_bytes, bool write,
                                const void* place)
{
    if (races_ == nullptr || works_together_)
        return;
    const Fiber& fiber = running_fiber();
    const auto in_stack =
        static_cast<const std::byte*>(memory) - static_cast<const std::byte*>(fiber.stack_bottom);
    if (in_stack >= 0 && static_cast<std::size_t>(in_stack) < fiber.stack_size)
        return; // a thread's own
    if (write)
        races_->write(memory, num_bytes, now(place));
    else
        races_->read(memory, num_bytes, now(place));
}

void BlockExecutor::note_warp_read(const void* memory, std::size_t num_bytes, const void* place)
{
    if (races_ == nullptr)
        return;
    Moment moment = now(place);
    races_->read(memory, num_bytes, moment);
    moment.thread ^= 1; // any other lane: what this one wrote itself may not have come to it
    races_->read(memory, num_bytes, moment);
}

bool BlockExecutor::may_run(int thread) const
{
    const Fiber& fiber = *fibers_[static_cast<std::size_t>(thread)];
    return fiber.running && fiber.num_barriers <= num_barriers_done_ &&
           fiber.num_together <= warps_[static_cast<std::size_t>(thread / warp_size)].num_done;
}

int BlockExecutor::next_thread()
{
    const int num_warps = block_.num_threads / warp_size;
    while (!failure_ && !unwinding_ && !closing_) {
        while (turn_.lane < warp_size) {
            const int position = turn_.warp * warp_size + turn_.lane++;
            const int thread =
                order_ == ThreadOrder::ascending ? position : block_.num_threads - 1 - position;
            if (may_run(thread)) {
                turn_.warp_ran = true;
                return thread;
            }
        }
        turn_.lane = 0;
        if (turn_.warp_ran) {
            turn_.warp_ran = false;
            turn_.any_ran = true;
        } else if (++turn_.warp == num_warps) {
            if (!turn_.any_ran)
                break;
            turn_.warp = 0;
            turn_.any_ran = false;
        }
    }
    return nobody;
}

void BlockExecutor::run_all()
{
    turn_ = Turn{};
    if (const int first = next_thread(); first != nobody)
        resume(first); // each goes on with the next, the last one comes back
    for (int thread = 0; thread < block_.num_threads && !failure_; ++thread)
        if (fibers_[static_cast<std::size_t>(thread)]->running)
            failure_ = std::make_exception_ptr(EmulationError(who_waits()));
}

std::string BlockExecutor::who_waits() const
{
    std::ostringstream text;
    text << "not all threads come together:";
    for (int thread = 0; thread < block_.num_threads; ++thread) {
        const Fiber& fiber = *fibers_[static_cast<std::size_t>(thread)];
        text << " " << thread << (fiber.running ? " waits at " : " is done")
             << (fiber.running ? fiber.waits_for : "") << ";";
    }
    return text.str();
}

void BlockExecutor::unwind()
{
    unwinding_ = true;
    for (int thread = 0; thread < block_.num_threads; ++thread)
        if (fibers_[static_cast<std::size_t>(thread)]->running)
            resume(thread);
    unwinding_ = false;
}

void BlockExecutor::begin_launch()
{
    if (races_)
        races_->begin_launch();
}

void BlockExecutor::run(const Block& block, const std::function<void()>& body)
{
    if (block.num_threads <= 0 || block.num_threads > 1024 || block.num_threads % warp_size != 0)
        throw EmulationError(std::to_string(block.num_threads) + " threads in a block");
    block_ = block;
    body_ = &body;
    failure_ = nullptr;
    works_together_ = false; // a failure may have come in the middle
    num_at_barrier_ = 0;
    num_barriers_done_ = 0;
    warps_.assign(static_cast<std::size_t>(block.num_threads / warp_size), Warp{});
    shared_.reset(static_cast<std::byte*>(
        ::operator new[](block.shared_bytes, std::align_val_t{shared_alignment})));
    std::memset(shared_.get(), 0xff, block.shared_bytes);
    const std::uint32_t block_number =
        races_ ? races_->begin_block(shared_.get(), block.shared_bytes) : 0;
    while (fibers_.size() < static_cast<std::size_t>(block.num_threads))
        make_fiber(static_cast<int>(fibers_.size()));
    for (int thread = 0; thread < block.num_threads; ++thread) {
        Fiber& fiber = *fibers_[static_cast<std::size_t>(thread)];
        fiber.running = true;
        fiber.waits_for = nullptr;
        fiber.num_barriers = fiber.num_together = 0;
        fiber.moment = Moment{};
        fiber.moment.block = block_number;
        fiber.moment.thread = static_cast<std::uint16_t>(thread);
        fiber.copies.resize(1);
        fiber.copies.front().clear();
    }

    BlockExecutor* before = running_;
    running_ = this;
    run_all();
    if (failure_)
        unwind();
    running_ = before;
    const std::string race = races_ ? races_->take_race() : "";
    if (failure_)
        std::rethrow_exception(failure_);
    if (!race.empty())
        throw EmulationError(race);
}

} // namespace sluice::testing
