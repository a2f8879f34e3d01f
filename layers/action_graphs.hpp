// A chunk's actions as graphs (core/cuda/gpu_graph.hpp): the host starts each of them by one call
// instead of one per kernel.
//
// The first time an action comes its kernels are launched one by one, and libraries prepare what
// they must; the second time they are captured as well; once the graph has been made ready, which
// must wait for a time without messages, it is launched instead. All three are the same kernels
// with the same arguments, so they give the same bits.
#pragma once

#include "core/cuda/gpu_graph.hpp"
#include "core/device.hpp"

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace sluice {

/// Everything that decides which kernels an action launches and on what, but for the gates that are
/// 0. What the kernels read from memory (the other gates, weights, tokens) may change.
struct ActionKey {
    enum class Kind : std::uint8_t {
        forward,
        evaluate,
        backward,
        backward_input,
        backward_weight,
        zero_gradients,
        gradient_squares,
        update_weights,
    };
    Kind kind;
    std::int64_t slot = -1;          ///< -1: none
    std::int64_t gradient_slot = -1; ///< -1: none
    bool measures_norms = false;
    double loss_scale = 0.0;
    auto operator<=>(const ActionKey&) const = default;
};

class ActionGraphs {
public:
    /// `most_launches`: of all graphs held at a time, because a GPU's memory holds each of them; 0:
    /// nothing is ever captured, as on CPUs. What finds no room is launched kernel by kernel.
    ActionGraphs(const Stream& stream, std::int64_t most_launches);

    /// Queues what `launches` queues (GpuGraph::capture says what it may do). `gates`: the chunk's;
    /// when others of them are 0 than before, other kernels run, and all graphs are dropped.
    template <class Launches>
    void run(const ActionKey& key, std::span<const double> gates, const Launches& launches)
    {
        if (most_launches_ == 0 || !start(key, gates, std::ref(launches)))
            launches();
    }

    /// Brings to the GPU what was captured since the last call, and forgets there what was dropped.
    /// CUDA may wait for all work of the GPU meanwhile: not while a message is under way.
    void make_ready();

    /// Those that are ready, or will be.
    std::int64_t num_graphs() const;
    std::int64_t num_launches() const { return num_launches_; }

private:
    bool start(const ActionKey& key, std::span<const double> gates,
               const std::function<void()>& launches);
    void follow(std::span<const double> gates);
    void capture(std::unique_ptr<GpuGraph>& graph, const std::function<void()>& launches);
    void stop_capturing();

    Stream stream_;
    std::int64_t most_launches_;
    std::int64_t num_launches_ = 0;
    std::vector<bool> closed_;                              ///< [num_layers]: which gates are 0
    std::map<ActionKey, std::unique_ptr<GpuGraph>> graphs_; ///< null: has come once
    std::vector<std::unique_ptr<GpuGraph>> dropped_;
    bool full_ = false, said_ = false;
};

} // namespace sluice
