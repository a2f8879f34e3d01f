// What a ModelChunk is made of, and the kernels of its passes; model_chunk.cpp alone includes it.
#pragma once

#include "layers/action_graphs.hpp"
#include "layers/chunk_layout.hpp"
#include "layers/embedding.hpp"
#include "layers/gates.hpp"
#include "layers/kernels/adamw.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/rotary.hpp"
#include "layers/kernels/sum_of_squares.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace sluice {

inline ChunkArenas real_arenas(const ModelChunkOptions& options, const ActivationPool& pool)
{
    const ChunkArenas counting = count(options);
    ChunkArenas arenas{.parameters = Arena(counting.parameters.used_bytes(), options.stream.device),
                       .gradients = Arena(counting.gradients.used_bytes(), options.stream.device),
                       .moments = Arena(counting.moments.used_bytes(), options.stream.device),
                       .tables = Arena(counting.tables.used_bytes(), options.stream.device),
                       .slots = {},
                       .gradient_slots = {},
                       .scratch = pool.scratch()};
    for (std::int64_t slot = 0; slot < pool.sizes().num_slots; ++slot)
        arenas.slots.push_back(pool.slot(slot));
    for (std::int64_t slot = 0; slot < pool.sizes().num_gradient_slots; ++slot)
        arenas.gradient_slots.push_back(pool.gradient_slot(slot));
    return arenas;
}

inline ModelChunkOptions with_slots_of(const ActivationPool& pool, ModelChunkOptions options)
{
    options.num_slots = pool.sizes().num_slots;
    options.num_gradient_slots = pool.sizes().num_gradient_slots;
    return options;
}

struct ModelChunk::Parts {
    Parts(const ModelChunkOptions& chunk_options, std::unique_ptr<ActivationPool> own,
          const ActivationPool& shared)
        : options(with_slots_of(shared, chunk_options)), own_pool(std::move(own)), pool(shared),
          stream(options.stream), arenas(real_arenas(options, pool)),
          layout(lay_out(options, arenas)), groups(groups_of(layout.parameters)),
          memory(memory_of(arenas)), gates(stream, options.range.num_layers(), layout.gates),
          graphs(stream, options.graph_launches),
          adamw_ring(stream, layout.adamw_factors.num_bytes())
    {
        SLUICE_CHECK(options.num_gradient_slots > 0 || options.passes == Passes::forward_only,
                     "a chunk that trains needs a gradient slot");
        for (std::int64_t layer = options.range.begin; layer < options.range.end; ++layer)
            layers.emplace_back(options.model, layer, layout.parameters, options.micro_batch,
                                layout.cos, layout.sin);
        if (options.range.embedding)
            embedding.table = weight_of(layout.parameters, "model.embed_tokens.weight");
        if (options.range.head)
            head = {.norm = {.weight = weight_of(layout.parameters, "model.norm.weight"),
                             .scale = 1.0,
                             .eps = options.model.norm_eps},
                    .projection = weight_of(layout.parameters, "lm_head.weight")};
        kernels::launch(stream, kernels::RotaryTable{.cos = layout.cos,
                                                     .sin = layout.sin,
                                                     .base = options.model.rope_base});
    }

    const ActivationSlot& slot(std::int64_t index) const
    {
        SLUICE_CHECK(index >= 0 && index < options.num_slots,
                     "slot " << index << " of " << options.num_slots);
        return layout.slots[static_cast<std::size_t>(index)];
    }

    void require_gradients() const
    {
        SLUICE_CHECK(options.passes == Passes::forward_and_backward,
                     "a chunk of forwards only has no gradients");
    }

    const GradientSlot& gradient_slot(std::int64_t index) const
    {
        require_gradients();
        SLUICE_CHECK(index >= 0 && index < options.num_gradient_slots,
                     "gradient slot " << index << " of " << options.num_gradient_slots);
        return layout.gradient_slots[static_cast<std::size_t>(index)];
    }

    std::span<const Parameter> embedding_parameters() const
    {
        return std::span(layout.parameters).first(options.range.embedding ? 1 : 0);
    }
    std::span<const Parameter> head_parameters() const
    {
        return std::span(layout.parameters).last(options.range.head ? 2 : 0);
    }
    /// `layer` counts from 0 in this chunk; every layer has equally many.
    std::span<const Parameter> layer_parameters(std::size_t layer) const
    {
        const std::size_t first = embedding_parameters().size();
        const std::size_t count =
            (layout.parameters.size() - first - head_parameters().size()) / layers.size();
        return std::span(layout.parameters).subspan(first + layer * count, count);
    }

    /// What `launches` queues, as a graph where it may be one.
    template <class Launches>
    void run(const ActionKey& key, const GradientObserver* observer, const Launches& launches)
    {
        if (observer != nullptr)
            launches();
        else
            graphs.run(key, gates.alphas(), launches);
    }

    void forward(std::int64_t index) const
    {
        const ActivationSlot& activations = slot(index);
        if (options.range.embedding)
            embedding.forward(stream, activations.input_tokens, activations.input);
        for (std::size_t i = 0; i < layers.size(); ++i) {
            layers[i].forward(stream, activations.layers[i], gates.of(i));
            if (activation_norms == ActivationNorms::measured)
                measure(i, activations.layers[i].mlp_residual.y);
        }
    }

    void backward(std::int64_t index, std::int64_t gradient_index, double loss_scale,
                  GradientObserver* observer) const
    {
        const ActivationSlot& activations = slot(index);
        const GradientSlot& gradients = gradient_slot(gradient_index);
        head_backward(activations, gradients, loss_scale);
        tell(observer, head_parameters());
        for (std::size_t i = layers.size(); i-- > 0;) {
            const LayerBackward layer = recomputed(i, activations, gradients);
            layers[i].backward(stream, layer.activations, layer.gradients, gates.of(i));
            tell(observer, layer_parameters(i));
        }
        embedding_backward(activations, gradients, observer);
    }

    void backward_input(std::int64_t index, std::int64_t gradient_index, double loss_scale) const
    {
        const ActivationSlot& activations = slot(index);
        const GradientSlot& gradients = gradient_slot(gradient_index);
        head_backward(activations, gradients, loss_scale);
        const std::size_t num_layers = layers.size();
        for (std::size_t i = num_layers; i-- > 0;) {
            LayerBackward layer = recomputed(i, activations, gradients);
            if (i + 1 < num_layers) // the last layer's is in scratch until the first one is done
                layer.gradients.attention.qkv = layout.kept_qkv_gradient(i, activations, gradients);
            layers[i].backward_input(stream, layer.activations, layer.gradients, gates.of(i));
        }
        if (num_layers > 0 && gates.of(num_layers - 1).value != 0.0)
            kernels::launch(stream, kernels::Copy{.from = layout.scratch.attention.qkv,
                                                  .to = layout.kept_qkv_gradient(
                                                      num_layers - 1, activations, gradients)});
    }

    void backward_weight(std::int64_t index, std::int64_t gradient_index,
                         GradientObserver* observer) const
    {
        const ActivationSlot& activations = slot(index);
        const GradientSlot& gradients = gradient_slot(gradient_index);
        tell(observer, head_parameters());
        for (std::size_t i = layers.size(); i-- > 0;) {
            LayerBackward layer = layout.backward_of(i, activations, gradients);
            layer.gradients.attention.qkv = layout.kept_qkv_gradient(i, activations, gradients);
            layers[i].backward_weight(stream, layer.activations, layer.gradients, gates.of(i));
            tell(observer, layer_parameters(i));
        }
        embedding_backward(activations, gradients, observer);
    }

    /// Final norm, head and loss, weight gradients included.
    void head_backward(const ActivationSlot& activations, const GradientSlot& gradients,
                       double loss_scale) const
    {
        if (!options.range.head)
            return;
        head.backward(stream, activations.output, activations.target_tokens, loss_scale,
                      layout.loss_head, layout.output_gradient(activations, gradients));
    }

    void embedding_backward(const ActivationSlot& activations, const GradientSlot& gradients,
                            GradientObserver* observer) const
    {
        if (options.range.embedding)
            embedding.backward_weight(stream, activations.input_tokens,
                                      layout.input_gradient(activations, gradients));
        tell(observer, embedding_parameters());
    }

    /// What layer `layer` works on in the backward pass, with everything in place again.
    LayerBackward recomputed(std::size_t layer, const ActivationSlot& activations,
                             const GradientSlot& gradients) const
    {
        LayerBackward made = layout.backward_of(layer, activations, gradients);
        layers[layer].recompute(stream, made.activations, gates.of(layer), options.recompute,
                                layout.scratch.unused_output);
        return made;
    }

    void measure(std::size_t layer, const TensorView& x) const
    {
        square(x, layout.stream_squares, static_cast<std::int64_t>(layer));
    }

    void square(const TensorView& x, const TensorView& results, std::int64_t index) const
    {
        kernels::launch(stream,
                        kernels::SumOfSquares{.x = {x}, .results = results.slice(index, {1})});
    }

    /// Of a group, those with moments here: a part of the group in one piece, so neighbours.
    std::span<const Parameter> owned(const ParameterGroup& group) const
    {
        const auto all =
            std::span(layout.parameters).subspan(group.first, group.last - group.first);
        const auto is_owned = [](const Parameter& parameter) { return !parameter.owned.empty(); };
        const auto first = std::ranges::find_if(all, is_owned);
        return {first, std::find_if_not(first, all.end(), is_owned)};
    }

    /// Of every parameter with moments here, into its place among layout.gradient_squares.
    void square_gradients() const
    {
        constexpr std::size_t at_once = kernels::SumOfSquares::most_tensors;
        for (const ParameterGroup& group : groups)
            for (auto left = owned(group); !left.empty();) {
                const auto now = left.first(std::min(at_once, left.size()));
                kernels::SumOfSquares sums{
                    .x = {},
                    .results = layout.gradient_squares.slice(now.data() - layout.parameters.data(),
                                                             {std::ssize(now)})};
                std::ranges::transform(now, sums.x.begin(), &Parameter::owned_gradient);
                kernels::launch(stream, sums);
                left = left.subspan(now.size());
            }
    }

    /// To where captured work reads them.
    void upload(const kernels::AdamW& numbers)
    {
        if (layout.adamw_factors.empty())
            return;
        kernels::AdamW without_decay = numbers;
        without_decay.weight_decay = 0.0;
        const kernels::AdamWFactors both[] = {factors_of(numbers), factors_of(without_decay)};
        adamw_ring.upload(layout.adamw_factors,
                          [&](const TensorView& row) { std::memcpy(row.data, both, sizeof both); });
    }

    /// A step of all parameters, in as few launches as there are runs of neighbours that are
    /// decayed alike: between them lie zeros, which stay zeros.
    void update(const kernels::AdamW& numbers) const
    {
        for (const ParameterGroup& group : groups)
            for (auto left = owned(group); !left.empty();) {
                const auto behind = std::ranges::find_if(left, [&](const Parameter& parameter) {
                    return parameter.spec.decayed != left.front().spec.decayed;
                });
                update({left.begin(), behind}, numbers);
                left = {behind, left.end()};
            }
    }

    void update(std::span<const Parameter> neighbours, kernels::AdamW step) const
    {
        const Parameter &front = neighbours.front(), &back = neighbours.back();
        step.weight = joined(front.owned_weight(), back.owned_weight());
        step.gradient = joined(front.owned_gradient(), back.owned_gradient());
        step.first_moment = joined(front.first_moment, back.first_moment);
        step.second_moment = joined(front.second_moment, back.second_moment);
        if (front.has_master())
            step.compute_copy = joined(front.owned_value(), back.owned_value());
        const bool decayed = front.spec.decayed;
        if (!decayed)
            step.weight_decay = 0.0;
        if (!layout.adamw_factors.empty())
            step.factors = layout.adamw_factors.slice(decayed ? 0 : kernels::num_adamw_factors,
                                                      {kernels::num_adamw_factors});
        kernels::launch(stream, step);
    }

    static void tell(GradientObserver* observer, std::span<const Parameter> parameters)
    {
        if (observer != nullptr && !parameters.empty())
            observer->gradients_done(parameters);
    }

    ModelChunkOptions options;
    std::unique_ptr<ActivationPool> own_pool; ///< null when the pool is somebody else's
    const ActivationPool& pool;
    Stream stream;
    ChunkArenas arenas;
    ChunkLayout layout;
    std::vector<ParameterGroup> groups;
    ChunkMemory memory;
    Gates gates;
    ActionGraphs graphs;
    HostRing adamw_ring;
    ActivationNorms activation_norms = ActivationNorms::ignored;
    Embedding embedding;
    std::vector<DecoderLayer> layers;
    LossHead head;
};

} // namespace sluice
