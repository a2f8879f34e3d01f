#include "pipeline/executor.hpp"

#include "core/checksum.hpp"
#include "layers/kernels/elementwise.hpp"

#include <algorithm>
#include <utility>

namespace sluice {

namespace {

std::span<const std::byte> bytes_of(const TensorView& tensor)
{
    return {static_cast<const std::byte*>(tensor.data), tensor.num_bytes()};
}

constexpr std::uint64_t mask52 = (1ull << 52) - 1;

} // namespace

Executor::Executor(const Schedule& program, Stage& stage, Transport& transport,
                   VerifyTransfers verify)
    : program_(program), stage_(stage), transport_(transport), verify_(verify)
{
    for (const StageChunk& chunk : stage_.chunks()) {
        const auto slots = static_cast<std::size_t>(chunk.model->options().num_slots);
        const auto gradient_slots =
            static_cast<std::size_t>(chunk.model->options().num_gradient_slots);
        edges_.push_back({std::vector<MessageId>(slots), std::vector<MessageId>(slots),
                          std::vector<MessageId>(gradient_slots),
                          std::vector<MessageId>(gradient_slots)});
    }
    const auto num_edges = static_cast<std::size_t>(2 * (program_.num_chunks - 1));
    checksums_.sent.assign(num_edges, 0.0);
    checksums_.received.assign(num_edges, 0.0);
}

std::int64_t Executor::slot(const StageChunk& chunk, std::int32_t microbatch) const
{
    return microbatch % chunk.model->options().num_slots;
}

std::int64_t Executor::gradient_slot(const StageChunk& chunk, std::int32_t microbatch) const
{
    return microbatch % chunk.model->options().num_gradient_slots;
}

std::string Executor::where() const
{
    return "rank " + std::to_string(transport_.rank()) + ", stage " +
           std::to_string(current_.chunk) + ", micro-batch " + std::to_string(current_.microbatch) +
           ", action " + text_of(current_);
}

void Executor::run_update(TokenSource& tokens, double loss_scale)
{
    loss_scale_ = loss_scale;
    loss_sum_ = 0.0;
    evaluating_ = false;
    std::fill(checksums_.sent.begin(), checksums_.sent.end(), 0.0);
    std::fill(checksums_.received.begin(), checksums_.received.end(), 0.0);
    for (const Action& action : program_.actions[transport_.rank()]) {
        if (action.kind == ActionKind::optimizer_step)
            break;
        run(action, tokens);
    }
    wait_for_sends();
}

double Executor::run_evaluation(TokenSource& tokens)
{
    loss_sum_ = 0.0;
    evaluating_ = true;
    for (const Action& action : program_.actions[transport_.rank()])
        run(action, tokens);
    wait_for_sends();
    evaluating_ = false;
    return loss_sum_;
}

void Executor::run(const Action& action, TokenSource& tokens)
{
    current_ = action;
    StageChunk& chunk = stage_.chunk(action.chunk);
    switch (action.kind) {
    case ActionKind::forward: run_forward(chunk, action.microbatch, tokens); break;
    case ActionKind::backward:
    case ActionKind::backward_input: run_backward_input(chunk, action, tokens); break;
    case ActionKind::backward_weight:
        chunk.model->backward_weight(slot(chunk, action.microbatch),
                                     gradient_slot(chunk, action.microbatch),
                                     chunk.warmup.alphas());
        break;
    case ActionKind::receive_activation:
    case ActionKind::send_activation:
    case ActionKind::receive_gradient:
    case ActionKind::send_gradient: post(chunk, action); break;
    case ActionKind::optimizer_step: SLUICE_CHECK(false, "optimizer step inside a run");
    }
    transport_.progress();
}

void Executor::run_forward(StageChunk& chunk, std::int32_t microbatch, TokenSource& tokens)
{
    ModelChunk& model = *chunk.model;
    const std::int64_t s = slot(chunk, microbatch);
    if (model.options().range.embedding) {
        tokens.inputs(microbatch, model.input_tokens(s));
    } else if (stage_.owns(chunk.index - 1)) {
        const StageChunk& previous = stage_.chunk(chunk.index - 1);
        kernels::launch(Stream{model.options().backend},
                        kernels::Copy{.from = previous.model->output(slot(previous, microbatch)),
                                      .to = model.input(s)});
    } else {
        take(edges(chunk).received_activation[s], model.input(s), chunk.index, microbatch, false);
    }
    transport_.wait(std::exchange(edges(chunk).sent_activation[s], 0));
    model.forward(s, chunk.warmup.alphas());
    if (evaluating_ && model.options().range.head) {
        tokens.targets(microbatch, model.target_tokens(s));
        model.evaluate(s);
        finish_loss(chunk, microbatch);
    }
}

void Executor::run_backward_input(StageChunk& chunk, const Action& action, TokenSource& tokens)
{
    ModelChunk& model = *chunk.model;
    const std::int64_t s = slot(chunk, action.microbatch);
    const std::int64_t g = gradient_slot(chunk, action.microbatch);
    if (model.options().range.head) {
        tokens.targets(action.microbatch, model.target_tokens(s));
    } else if (stage_.owns(chunk.index + 1)) {
        const StageChunk& next = stage_.chunk(chunk.index + 1);
        kernels::launch(Stream{model.options().backend},
                        kernels::Copy{.from = next.model->input_gradient(
                                          gradient_slot(next, action.microbatch)),
                                      .to = model.output_gradient(g)});
    } else {
        take(edges(chunk).received_gradient[g], model.output_gradient(g), chunk.index,
             action.microbatch, true);
    }
    transport_.wait(std::exchange(edges(chunk).sent_gradient[g], 0));
    if (action.kind == ActionKind::backward)
        model.backward(s, g, chunk.warmup.alphas(), loss_scale_);
    else
        model.backward_input(s, g, chunk.warmup.alphas(), loss_scale_);
    if (model.options().range.head)
        finish_loss(chunk, action.microbatch);
}

void Executor::finish_loss(StageChunk& chunk, std::int32_t microbatch)
{
    loss_sum_ += chunk.model->loss_sum(slot(chunk, microbatch));
}

void Executor::post(StageChunk& chunk, const Action& action)
{
    const std::int32_t c = action.chunk;
    const std::int32_t m = action.microbatch;
    ModelChunk& model = *chunk.model;
    const std::int64_t s = slot(chunk, m);
    const std::int64_t g = gradient_slot(chunk, m);
    switch (action.kind) {
    case ActionKind::receive_activation:
        edges(chunk).received_activation[s] =
            transport_.receive(model.input(s), program_.rank_of_chunk[c - 1], {c, m, false});
        break;
    case ActionKind::send_activation:
        record(checksums_.sent, c, false, m, model.output(s));
        edges(chunk).sent_activation[s] =
            transport_.send(model.output(s), program_.rank_of_chunk[c + 1], {c + 1, m, false});
        break;
    case ActionKind::receive_gradient:
        edges(chunk).received_gradient[g] = transport_.receive(
            model.output_gradient(g), program_.rank_of_chunk[c + 1], {c, m, true});
        break;
    case ActionKind::send_gradient:
        record(checksums_.sent, c - 1, true, m, model.input_gradient(g));
        edges(chunk).sent_gradient[g] = transport_.send(
            model.input_gradient(g), program_.rank_of_chunk[c - 1], {c - 1, m, true});
        break;
    default: SLUICE_CHECK(false, text_of(action));
    }
}

void Executor::take(MessageId& message, const TensorView& tensor, std::int32_t chunk,
                    std::int32_t microbatch, bool gradient)
{
    transport_.wait(std::exchange(message, 0));
    if (fault_.chunk == chunk && fault_.microbatch == microbatch && fault_.gradient == gradient) {
        static_cast<unsigned char*>(tensor.data)[tensor.num_bytes() / 2] ^= 0x10;
        fault_.chunk = -1;
    }
    record(checksums_.received, gradient ? chunk : chunk - 1, gradient, microbatch, tensor);
}

void Executor::record(std::vector<double>& side, std::int32_t edge, bool gradient,
                      std::int32_t microbatch, const TensorView& tensor)
{
    if (verify_ == VerifyTransfers::no)
        return;
    // Weighted by an odd number of the micro-batch, so that exchanged messages do not cancel out.
    const std::uint64_t weight = 2 * static_cast<std::uint64_t>(microbatch) + 1;
    double& sum = side[2 * edge + (gradient ? 1 : 0)];
    const auto old = static_cast<std::uint64_t>(sum);
    sum = static_cast<double>((old + weight * checksum64_of(bytes_of(tensor))) & mask52);
}

void Executor::wait_for_sends()
{
    for (Edges& edge : edges_) {
        for (MessageId& message : edge.sent_activation)
            transport_.wait(std::exchange(message, 0));
        for (MessageId& message : edge.sent_gradient)
            transport_.wait(std::exchange(message, 0));
    }
}

} // namespace sluice
