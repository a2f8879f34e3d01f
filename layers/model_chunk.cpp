#include "layers/model_chunk.hpp"

#include "core/compute_stream.hpp"
#include "layers/chunk_parts.hpp"

#include <cmath>

namespace sluice {

ModelChunk::ModelChunk(const ModelChunkOptions& options)
{
    auto own = std::make_unique<ActivationPool>(own_pool_sizes(options), options.stream.device);
    const ActivationPool& pool = *own;
    parts_ = std::make_unique<Parts>(options, std::move(own), pool);
}
ModelChunk::ModelChunk(const ModelChunkOptions& options, ActivationPool& pool)
    : parts_(std::make_unique<Parts>(options, nullptr, pool))
{
}
ModelChunk::~ModelChunk() = default;

const ModelChunkOptions& ModelChunk::options() const { return parts_->options; }
std::span<Parameter> ModelChunk::parameters() { return parts_->layout.parameters; }
const ChunkMemory& ModelChunk::memory() const { return parts_->memory; }
const ActivationPool& ModelChunk::pool() const { return parts_->pool; }

TensorView ModelChunk::input(std::int64_t slot) const { return parts_->slot(slot).input; }
TensorView ModelChunk::output(std::int64_t slot) const { return parts_->slot(slot).output; }

TensorView ModelChunk::output_gradient(std::int64_t gradient_slot) const
{
    SLUICE_CHECK(!parts_->options.range.head, "the loss gives this chunk's output gradient");
    return parts_->gradient_slot(gradient_slot).output;
}

TensorView ModelChunk::input_gradient(std::int64_t gradient_slot) const
{
    SLUICE_CHECK(!parts_->options.range.embedding, "nobody takes this chunk's input gradient");
    return parts_->gradient_slot(gradient_slot).input;
}

TensorView ModelChunk::input_tokens(std::int64_t slot) const
{
    SLUICE_CHECK(parts_->options.range.embedding, "no embedding in this chunk");
    return parts_->slot(slot).input_tokens;
}

TensorView ModelChunk::target_tokens(std::int64_t slot) const
{
    SLUICE_CHECK(parts_->options.range.head, "no head in this chunk");
    return parts_->slot(slot).target_tokens;
}

void ModelChunk::forward(std::int64_t slot, std::span<const double> alphas)
{
    parts_->gates.set(alphas);
    parts_->run({.kind = ActionKey::Kind::forward,
                 .slot = slot,
                 .measures_norms = parts_->activation_norms == ActivationNorms::measured},
                nullptr, [&] { parts_->forward(slot); });
}

void ModelChunk::backward(std::int64_t slot, std::int64_t gradient_slot,
                          std::span<const double> alphas, double loss_scale,
                          GradientObserver* observer)
{
    parts_->gates.set(alphas);
    parts_->run({.kind = ActionKey::Kind::backward,
                 .slot = slot,
                 .gradient_slot = gradient_slot,
                 .loss_scale = loss_scale},
                observer, [&] { parts_->backward(slot, gradient_slot, loss_scale, observer); });
}

void ModelChunk::backward_input(std::int64_t slot, std::int64_t gradient_slot,
                                std::span<const double> alphas, double loss_scale)
{
    SLUICE_CHECK(parts_->options.split == BackwardSplit::split,
                 "a fused chunk only has backward()");
    parts_->gates.set(alphas);
    parts_->run({.kind = ActionKey::Kind::backward_input,
                 .slot = slot,
                 .gradient_slot = gradient_slot,
                 .loss_scale = loss_scale},
                nullptr, [&] { parts_->backward_input(slot, gradient_slot, loss_scale); });
}

void ModelChunk::backward_weight(std::int64_t slot, std::int64_t gradient_slot,
                                 std::span<const double> alphas, GradientObserver* observer)
{
    SLUICE_CHECK(parts_->options.split == BackwardSplit::split,
                 "a fused chunk only has backward()");
    parts_->gates.set(alphas);
    parts_->run(
        {.kind = ActionKey::Kind::backward_weight, .slot = slot, .gradient_slot = gradient_slot},
        observer, [&] { parts_->backward_weight(slot, gradient_slot, observer); });
}

TensorView ModelChunk::token_losses() const
{
    SLUICE_CHECK(parts_->options.range.head, "no head in this chunk");
    return parts_->layout.loss_head.losses;
}

double ModelChunk::loss_sum() const
{
    return sum_of_losses(HostCopy(parts_->stream, token_losses()).view().elements<double>());
}

void ModelChunk::evaluate(std::int64_t slot)
{
    Parts& parts = *parts_;
    SLUICE_CHECK(parts.options.range.head, "no head in this chunk");
    const ActivationSlot& activations = parts.slot(slot);
    parts.run({.kind = ActionKey::Kind::evaluate, .slot = slot}, nullptr, [&] {
        parts.head.evaluate(parts.stream, activations.output, activations.target_tokens,
                            parts.layout.loss_head);
    });
}

void ModelChunk::set_activation_norms(ActivationNorms norms) { parts_->activation_norms = norms; }

HeldGraphs ModelChunk::held_graphs() const
{
    return {parts_->graphs.num_graphs(), parts_->graphs.num_launches()};
}

void ModelChunk::make_graphs_ready() { parts_->graphs.make_ready(); }

void ModelChunk::activation_norms(std::span<double> rms) const
{
    const std::size_t num_layers = parts_->layers.size();
    SLUICE_CHECK(rms.size() == num_layers, rms.size() << " norms, " << num_layers << " layers");
    const HostCopy squares(parts_->stream, parts_->layout.stream_squares);
    const auto num_elements = static_cast<double>(parts_->layout.slots[0].input.num_elements());
    for (std::size_t layer = 0; layer < num_layers; ++layer)
        rms[layer] = std::sqrt(squares.view().as<double>()[layer] / num_elements);
}

void ModelChunk::initialize(std::uint64_t seed)
{
    for (const Parameter& parameter : parts_->layout.parameters) {
        const HostCopy value(parts_->stream, parameter.value, HostCopy::Begin::empty);
        const HostCopy master(parts_->stream, parameter.master, HostCopy::Begin::empty);
        Parameter on_host = parameter;
        on_host.value = value.view();
        on_host.master = master.view();
        sluice::initialize(parts_->options.model, seed, on_host);
        value.write_back();
        master.write_back();
    }
}

void ModelChunk::zero_gradients()
{
    parts_->require_gradients();
    parts_->run({.kind = ActionKey::Kind::zero_gradients}, nullptr, [&] {
        for (const ParameterGroup& group : parts_->groups)
            kernels::launch(parts_->stream, kernels::Fill{.to = group.gradient, .value = 0.0});
    });
}

void ModelChunk::gradient_squares(std::span<double> sums) const
{
    parts_->require_gradients();
    const auto& parameters = parts_->layout.parameters;
    SLUICE_CHECK(sums.size() == parameters.size(),
                 sums.size() << " sums, " << parameters.size() << " parameters");
    parts_->run({.kind = ActionKey::Kind::gradient_squares}, nullptr,
                [&] { parts_->square_gradients(); });
    const HostCopy found(parts_->stream, parts_->layout.gradient_squares);
    for (std::size_t i = 0; i < parameters.size(); ++i)
        sums[i] = parameters[i].owned.empty() ? 0.0 : found.view().as<double>()[i];
}

void ModelChunk::update_weights(const kernels::AdamW& numbers)
{
    parts_->require_gradients();
    parts_->upload(numbers);
    parts_->run({.kind = ActionKey::Kind::update_weights}, nullptr,
                [&] { parts_->update(numbers); });
}

double ModelChunk::sum_of_squares(const TensorView& x) const
{
    if (x.num_elements() == 0)
        return 0.0;
    parts_->square(x, parts_->layout.gradient_squares, 0);
    return HostCopy(parts_->stream, parts_->layout.gradient_squares).view().as<double>()[0];
}

} // namespace sluice
