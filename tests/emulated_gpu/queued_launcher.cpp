#include "tests/emulated_gpu/queued_launcher.hpp"

#include "core/cuda/gpu.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"

#include <cstring>

namespace sluice::testing {

namespace {

void check_operand(const Stream& stream, const NamedOperand& operand)
{
    const TensorView& view = operand.view;
    const std::string gpu = "GPU " + std::to_string(stream.device.index);
    if (view.device != stream.device)
        throw EmulationError("its view does not say that it lies on " + gpu);
    const auto block = EmulatedMemory::of_process().find(view.data, view.num_bytes());
    if (!block)
        throw EmulationError("it is neither memory of a GPU nor pinned");
    if (block->gpu < 0)
        throw EmulationError("it is pinned memory of the host");
    if (block->gpu != stream.device.index)
        throw EmulationError("it is memory of GPU " + std::to_string(block->gpu) + ", not of " +
                             gpu);
}

} // namespace

void check_operands(const Stream& stream, const char* operation, const Operands& operands)
{
    if (current_emulated_gpu() != stream.device.index)
        throw EmulationError(std::string(operation) + " on a stream of GPU " +
                             std::to_string(stream.device.index) + ", while this thread uses GPU " +
                             std::to_string(current_emulated_gpu()));
    for (const NamedOperand& operand : operands) {
        if (operand.view.empty())
            continue;
        try {
            check_operand(stream, operand);
        } catch (const EmulationError& error) {
            throw EmulationError(std::string(operation) + ", operand " + operand.name + ": " +
                                 error.what());
        }
    }
}

MemoryAccesses accesses_of(const Operands& operands)
{
    MemoryAccesses accesses;
    for (const NamedOperand& operand : operands)
        if (!operand.view.empty())
            accesses.push_back(
                {operand.view.data, operand.view.num_bytes(), operand.written, operand.name});
    return accesses;
}

BlockExecutor& executor_of_process()
{
    static BlockExecutor executor(WorkQueues::of_process().seed() % 2 == 0
                                      ? ThreadOrder::ascending
                                      : ThreadOrder::descending);
    return executor;
}

void QueuedLauncher::queue(std::function<void()> body) const
{
    WorkQueues::of_process().add(*static_cast<WorkQueue*>(stream_.native()), operation_,
                                 std::move(body), {}, accesses_);
}

void QueuedLauncher::use(const std::string& code) const
{
    const WorkQueue& queue = *static_cast<const WorkQueue*>(stream_.native());
    const bool is_new =
        WorkQueues::of_process().use(queue.gpu(), std::string(operation_) + " " + code);
    const std::size_t bytes = emulated_code_bytes();
    if (is_new && bytes > 0 &&
        EmulatedMemory::of_process().allocate(queue.gpu(), bytes, FreshMemory::untouched) ==
            nullptr) // kept for good otherwise
        throw usage_error("the GPU's memory is used up in " + std::string(operation_), "",
                          "as core/cuda/checked_call.cpp says it");
}

void QueuedLauncher::copy(void* to, const void* from, std::size_t num_bytes) const
{
    queue([=] { std::memcpy(to, from, num_bytes); });
}

void* QueuedLauncher::poisoned(std::size_t num_bytes) const
{
    const DeviceMemory& workspace = stream_.workspace();
    SLUICE_CHECK(num_bytes <= workspace.num_bytes(),
                 num_bytes << " bytes in a workspace of " << workspace.num_bytes());
    queue([data = workspace.data(), num_bytes] { std::memset(data, 0xff, num_bytes); });
    return workspace.data();
}

void QueuedLauncher::check_launch(kernels::emulated::Grid grid, std::size_t shared_bytes) const
{
    SLUICE_CHECK(grid.x >= 0 && grid.x < (std::int64_t{1} << 31) && grid.y >= 0 && grid.y < 65536,
                 "grid " << grid.x << " by " << grid.y);
    SLUICE_CHECK(shared_bytes <= gpu_info(0).shared_bytes_per_block,
                 operation_ << ": " << shared_bytes << " bytes of shared memory");
}

} // namespace sluice::testing
