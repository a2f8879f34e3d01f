// A contiguous range of the model, the unit a pipeline moves micro-batches through: optionally the
// embedding, some decoder layers, optionally the final norm, head and loss.
//
// Legend: B sequences of a micro-batch, T positions, N = B T tokens, C hidden size.
//
// Memory is taken once: parameters by the chunk, everything that belongs to a micro-batch from a
// pool that the chunks of a rank share (layers/activation_pool.hpp). A micro-batch has an
// activation slot of the pool from its forward until its weight gradient is done, and a gradient
// slot from its backward (or the receive before it) until then; whoever runs the chunk says which,
// and gives no slot to two at a time.
//
// The head runs in the backward pass: forward() of a chunk with the head stops before the final
// norm, backward() or backward_input() computes logits, losses and their gradient in place in one
// shared buffer, and at once the gradients of head and final norm.
// Logits, by far the largest activation, therefore exist once per rank, not once per micro-batch in
// flight.
#pragma once

#include "layers/activation_pool.hpp"
#include "layers/gradient_observer.hpp"
#include "layers/micro_batch.hpp"
#include "layers/parameter_memory.hpp"
#include "layers/recompute.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace sluice {

namespace kernels {
struct AdamW;
}

/// Whether the weight gradient of a micro-batch directly follows its input gradient: then the chunk
/// only has backward(). Or whether it may come later: then backward_input() and backward_weight()
/// are separate, and what lies between them replaces activations that the input gradient was the
/// last to read, at no cost in memory. Exceptions: what is computed again (layers/recompute.hpp),
/// and, in post and deepnorm, the gradient of the embedding's output; they lie in the gradient
/// slot. Both give the same bits.
enum class BackwardSplit : bool { fused, split };

/// What the chunk will be asked for. Forwards only: forward() and evaluate(), the same bits, in
/// memory that holds the weights as products see them, one layer's activations and the head's, and
/// nothing of gradients and the optimizer.
enum class Passes : std::uint8_t { forward_and_backward, forward_only };

struct ModelChunkOptions {
    ModelSpec model;
    LayerRange range;
    MicroBatchShape micro_batch;
    std::int64_t num_slots = 1;          ///< in the pool
    std::int64_t num_gradient_slots = 1; ///< likewise
    BackwardSplit split = BackwardSplit::fused;
    Recompute recompute = Recompute::none;
    Passes passes = Passes::forward_and_backward;
    MomentShard moments{}; ///< which part of the optimizer's state lives here
    Precision precision{}; ///< fp64 on the reference backend, any other elsewhere
    /// On GPUs: forward and backward passes are captured as graphs of up to so many launches in all
    /// (layers/action_graphs.hpp); 0: none is.
    std::int64_t graph_launches = 0;
    /// Where the chunk lives and computes. Must outlive the chunk; to plan one, its backend is
    /// enough.
    Stream stream{};
};

/// Bytes a chunk takes, by purpose.
struct ChunkMemory {
    std::size_t parameter_bytes = 0; ///< values
    std::size_t gradient_bytes = 0;
    std::size_t optimizer_bytes = 0;     ///< moments and master weights, the part that lives here
    std::size_t table_bytes = 0;         ///< rotary tables
    std::size_t slot_bytes = 0;          ///< one activation slot
    std::size_t gradient_slot_bytes = 0; ///< one gradient slot
    std::size_t scratch_bytes = 0;       ///< shared by all layers, logits included

    /// What the chunk takes itself; slots and scratch come from the pool.
    std::size_t own_bytes() const
    {
        return parameter_bytes + gradient_bytes + optimizer_bytes + table_bytes;
    }
};

/// What ModelChunk will take, without taking it. The numbers of slots in `options` do not matter.
ChunkMemory plan_memory(const ModelChunkOptions& options);
/// The pool of a chunk that shares none: options.num_slots and num_gradient_slots of what
/// plan_memory() says.
PoolSizes own_pool_sizes(const ModelChunkOptions& options);

/// Whether forward() also measures the residual stream behind each layer, which costs one more
/// pass over it.
enum class ActivationNorms : bool { ignored, measured };

struct HeldGraphs {
    std::int64_t num_graphs = 0;
    std::int64_t num_launches = 0; ///< kernels and copies in all of them
};

class ModelChunk {
public:
    /// On a pool of its own, of own_pool_sizes(options).
    explicit ModelChunk(const ModelChunkOptions& options);
    /// On a pool that fits this chunk and outlives it. options() then says the pool's numbers of
    /// slots.
    ModelChunk(const ModelChunkOptions& options, ActivationPool& pool);
    ~ModelChunk();
    ModelChunk(const ModelChunk&) = delete;
    ModelChunk& operator=(const ModelChunk&) = delete;

    const ModelChunkOptions& options() const;
    std::span<Parameter> parameters();
    const ChunkMemory& memory() const;
    const ActivationPool& pool() const;

    /// Where the previous chunk's output is received [N,C] (not for a chunk with the embedding) and
    /// where this chunk's output is sent from. Valid for `slot` from forward until backward is
    /// done.
    TensorView input(std::int64_t slot) const;
    TensorView output(std::int64_t slot) const;
    /// Where the next chunk's input gradient is received [N,C] (not with the head), and where this
    /// chunk's is sent from (not with the embedding).
    TensorView output_gradient(std::int64_t gradient_slot) const;
    TensorView input_gradient(std::int64_t gradient_slot) const;
    /// Token ids [N] i32, to be filled before forward (embedding) or backward/evaluate (head).
    TensorView input_tokens(std::int64_t slot) const;  ///< only with the embedding
    TensorView target_tokens(std::int64_t slot) const; ///< only with the head

    /// `alphas`: one gate per layer of this chunk, the same in all passes of an update. A gate of
    /// exactly 0 skips its branches, forward and backward; the result is exactly that of
    /// multiplying by 0.
    void forward(std::int64_t slot, std::span<const double> alphas);

    /// Gradient with respect to the chunk's input, from output_gradient(gradient_slot) (or the
    /// loss) into input_gradient(gradient_slot), and the gradients of all parameters, which
    /// ACCUMULATE. `loss_scale` multiplies the gradient of the summed token losses: 1 / (target
    /// tokens of the global batch), never 0. OVERWRITES the slot's activations, so that there is
    /// one backward pass per forward pass; output(slot) stays in a chunk without the head, and
    /// output_gradient(gradient_slot) in every one. `alphas` as in forward().
    /// `observer`, if any, hears of gradients as they become final; such a pass is never a graph.
    void backward(std::int64_t slot, std::int64_t gradient_slot, std::span<const double> alphas,
                  double loss_scale, GradientObserver* observer = nullptr);

    /// The same in two parts, only with BackwardSplit::split. This one gives the input's gradient
    /// and ACCUMULATES the gradients of norms and head.
    void backward_input(std::int64_t slot, std::int64_t gradient_slot,
                        std::span<const double> alphas, double loss_scale);
    /// ACCUMULATES the gradients of the layers' matrices and the embedding for the micro-batch in
    /// `slot`, any time after its backward_input() while both slots are still its own. Calls in
    /// micro-batch order (of either part) keep the bits of any schedule the same. `observer` as in
    /// backward(), also for the gradients that backward_input() completed.
    void backward_weight(std::int64_t slot, std::int64_t gradient_slot,
                         std::span<const double> alphas, GradientObserver* observer = nullptr);

    /// Token losses [N] f64 of the last backward(), backward_input() or evaluate(), where the chunk
    /// lives, until the next of them overwrites them on its stream; only with the head.
    TensorView token_losses() const;
    /// Their sum, in float64 and token order. Blocks until they are there.
    double loss_sum() const;
    /// Forward through final norm, head and loss without any gradient; only with the head, after
    /// forward() on the same slot and before its backward pass.
    void evaluate(std::int64_t slot);

    /// For every forward() from now on.
    void set_activation_norms(ActivationNorms norms);
    /// Of its passes, now (layers/action_graphs.hpp).
    HeldGraphs held_graphs() const;
    /// What was captured in this update is a graph from the next one on. Not while a message is
    /// under way.
    void make_graphs_ready();
    /// Root mean square of the residual stream behind each layer [num_layers], of the micro-batch
    /// that forward() last measured; 0 before the first. Blocks until they are there.
    void activation_norms(std::span<double> rms) const;

    /// Every parameter's initial value (initialize() in layers/parameter.hpp).
    void initialize(std::uint64_t seed);
    void zero_gradients();
    /// Sum of squares of the gradient elements whose moments live here, of each parameter
    /// [num_parameters]. Blocks until they are there.
    void gradient_squares(std::span<double> sums) const;
    /// One optimizer step on every parameter's elements whose moments live here. `numbers`: its
    /// tensors are not looked at; its weight_decay goes for parameters that are decayed.
    void update_weights(const kernels::AdamW& numbers);
    /// Of any tensor where the chunk lives. Blocks.
    double sum_of_squares(const TensorView& x) const;

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

} // namespace sluice
