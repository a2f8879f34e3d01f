#include "layers/action_graphs.hpp"

#include "core/cuda/gpu.hpp"
#include "core/logging.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace sluice {

namespace {

/// Left to whatever else takes memory of the GPU while a run goes on.
constexpr std::size_t reserved_bytes = std::size_t{128} << 20;

} // namespace

ActionGraphs::ActionGraphs(const Stream& stream, std::int64_t most_launches)
    : stream_(stream),
      most_launches_(stream.device.kind == DeviceKind::cuda ? most_launches : std::int64_t{0})
{
}

std::int64_t ActionGraphs::num_graphs() const
{
    return std::ranges::count_if(graphs_, [](const auto& entry) { return bool(entry.second); });
}

bool ActionGraphs::start(const ActionKey& key, std::span<const double> gates,
                         const std::function<void()>& launches)
{
    follow(gates);
    const auto [entry, is_new] = graphs_.try_emplace(key);
    std::unique_ptr<GpuGraph>& graph = entry->second;
    if (graph && graph->is_ready()) {
        graph->launch(stream_);
        return true;
    }
    if (!graph && !is_new && !full_)
        capture(graph, launches);
    return false;
}

void ActionGraphs::follow(std::span<const double> gates)
{
    const auto same = [](bool closed, double gate) { return closed == (gate == 0.0); };
    if (std::ranges::equal(closed_, gates, same))
        return;
    closed_.clear();
    for (const double gate : gates)
        closed_.push_back(gate == 0.0);
    for (auto& [key, graph] : graphs_)
        if (graph)
            dropped_.push_back(std::move(graph));
    graphs_.clear();
    num_launches_ = 0;
    full_ = false;
}

void ActionGraphs::capture(std::unique_ptr<GpuGraph>& graph, const std::function<void()>& launches)
{
    auto made = GpuGraph::capture(stream_, launches);
    const auto added = static_cast<std::int64_t>(made->num_launches());
    if (num_launches_ + added > most_launches_)
        return stop_capturing();
    num_launches_ += added;
    graph = std::move(made);
}

void ActionGraphs::make_ready()
{
    dropped_.clear();
    for (auto& [key, graph] : graphs_) {
        if (!graph || graph->is_ready())
            continue;
        if (free_gpu_bytes() >= reserved_bytes && graph->make_ready(stream_))
            continue;
        num_launches_ -= static_cast<std::int64_t>(graph->num_launches());
        graph.reset();
        stop_capturing();
    }
}

void ActionGraphs::stop_capturing()
{
    full_ = true;
    if (!std::exchange(said_, true))
        log_warning("no room for more CUDA graphs beside " + std::to_string(num_graphs()) + " of " +
                    std::to_string(num_launches_) +
                    " kernels and copies: other passes are launched kernel by kernel");
}

} // namespace sluice
