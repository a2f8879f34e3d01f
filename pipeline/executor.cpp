#include "pipeline/executor.hpp"

#include "core/compute_stream.hpp"
#include "layers/kernels/elementwise.hpp"
#include "pipeline/gradient_exchange.hpp"
#include "pipeline/rehearsal.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace sluice {

namespace {

std::size_t num_messages(const std::vector<Action>& actions)
{
    return static_cast<std::size_t>(std::ranges::count_if(actions, is_message, &Action::kind));
}

} // namespace

Executor::Executor(const Schedule& program, const SlotTable& slots, Stage& stage,
                   Transport& transport, VerifyTransfers verify)
    : program_(program), slots_(slots), stage_(stage), transport_(transport),
      stream_(stage.stream()),
      clock_(stream_, program.actions[static_cast<std::size_t>(transport.rank())].size()),
      upload_(stream_, stage.num_tokens()), download_(stream_, stage.num_tokens())
{
    const auto rank = static_cast<std::size_t>(transport_.rank());
    const auto none = [](std::int32_t count) {
        return std::vector<MessageId>(static_cast<std::size_t>(count), 0);
    };
    received_activation_ = none(slots_.num_inbox_slots[rank]);
    sent_activation_ = none(slots_.num_activation_slots[rank]);
    received_gradient_ = sent_gradient_ = none(slots_.num_gradient_slots[rank]);
    const auto num_edges = static_cast<std::size_t>(2 * (program_.num_chunks - 1));
    losses_.assign(static_cast<std::size_t>(program_.num_microbatches), 0.0);
    checksums_.sent.assign(num_edges, 0.0);
    checksums_.received.assign(num_edges, 0.0);
    if (verify == VerifyTransfers::yes)
        messages_.emplace(stream_, 2 * num_edges, num_messages(program_.actions[rank]));
}

std::string Executor::where() const
{
    return "rank " + std::to_string(transport_.world_rank()) + ", stage " +
           std::to_string(current_.chunk) + ", micro-batch " + std::to_string(current_.microbatch) +
           ", action " + text_of(current_);
}

void Executor::rehearse()
{
    if (stream_.device.kind == DeviceKind::cpu)
        return;
    sluice::rehearse(stage_);
    if (messages_ && program_.num_chunks > 1) {
        messages_->add(0, stage_.chunks().front().model->input(0), 1);
        messages_->clear();
    }
    if (exchange_ != nullptr)
        exchange_->rehearse();
    synchronize(stream_);
}

void Executor::run_update(TokenSource& tokens, double loss_scale)
{
    loss_scale_ = loss_scale;
    clock_.reset();
    evaluating_ = false;
    if (messages_)
        messages_->clear();
    for (const Action& action : program_.actions[transport_.rank()]) {
        if (action.kind == ActionKind::optimizer_step)
            break;
        run(action, tokens);
    }
    finish();
}

double Executor::run_evaluation(TokenSource& tokens)
{
    clock_.reset();
    evaluating_ = true;
    for (const Action& action : program_.actions[transport_.rank()])
        run(action, tokens);
    finish();
    // Without the head nothing else waits for the tokens' copies, and an executor of one evaluation
    // goes with the memory that they are copied from.
    synchronize(stream_);
    evaluating_ = false;
    return std::accumulate(losses_.begin(), losses_.end(), 0.0);
}

void Executor::finish()
{
    if (messages_)
        messages_->send();
    wait_for_sends();
    download_.finish();
}

void Executor::turn_to(Activity activity)
{
    clock_.stop();
    if (activity == Activity::compute)
        clock_.start();
    mark(recorder_, activity);
    if (RankActivity* published = transport_.activity())
        published->turn_to(activity);
}

void Executor::run(const Action& action, TokenSource& tokens)
{
    current_ = action;
    if (RankActivity* activity = transport_.activity())
        activity->begin_action(action);
    if (recorder_ != nullptr)
        recorder_->begin_action(
            static_cast<std::int32_t>(&action - program_.actions[transport_.rank()].data()),
            Activity::messages);
    StageChunk& chunk = stage_.chunk(action.chunk);
    switch (action.kind) {
    case ActionKind::forward: run_forward(chunk, action.microbatch, tokens); break;
    case ActionKind::backward:
    case ActionKind::backward_input: run_backward_input(chunk, action, tokens); break;
    case ActionKind::backward_weight:
        turn_to(Activity::compute);
        chunk.model->backward_weight(slots_.activation(action.chunk, action.microbatch),
                                     slots_.gradient(action.chunk, action.microbatch),
                                     chunk.warmup.alphas(), observer_of(action.microbatch));
        break;
    case ActionKind::receive_activation:
    case ActionKind::send_activation:
    case ActionKind::receive_gradient:
    case ActionKind::send_gradient: post(chunk, action); break;
    case ActionKind::optimizer_step: SLUICE_CHECK(false, "optimizer step inside a run");
    }
    turn_to(Activity::messages);
    transport_.progress();
    if (exchange_ != nullptr)
        exchange_->progress();
}

/// Weight gradients run in micro-batch order: behind the last they are final.
GradientExchange* Executor::observer_of(std::int32_t microbatch) const
{
    return microbatch + 1 == program_.num_microbatches ? exchange_ : nullptr;
}

void Executor::run_forward(StageChunk& chunk, std::int32_t microbatch, TokenSource& tokens)
{
    ModelChunk& model = *chunk.model;
    const std::int32_t c = chunk.index;
    const std::int32_t slot = slots_.activation(c, microbatch);
    wait_for_buffer(sent_activation_[slot]);
    if (model.options().range.embedding) {
        turn_to(Activity::data);
        upload_(model.input_tokens(slot), [&](const TensorView& into) {
            const AtFiles reading(transport_.activity());
            tokens.inputs(microbatch, into);
        });
    } else {
        TensorView from;
        if (stage_.owns(c - 1)) {
            from = stage_.chunk(c - 1).model->output(slots_.activation(c - 1, microbatch));
        } else {
            const std::int32_t inbox = slots_.inbox(c, microbatch);
            from = stage_.inbox(inbox);
            take(received_activation_[inbox], from, c, microbatch, false);
        }
        kernels::launch(stream_, kernels::Copy{.from = from, .to = model.input(slot)});
    }
    const bool evaluates = evaluating_ && model.options().range.head;
    if (evaluates)
        upload_targets(chunk, microbatch, tokens);
    turn_to(Activity::compute);
    model.forward(slot, chunk.warmup.alphas());
    if (evaluates) {
        model.evaluate(slot);
        download_(model.token_losses(), losses_[static_cast<std::size_t>(microbatch)]);
    }
}

void Executor::upload_targets(StageChunk& chunk, std::int32_t microbatch, TokenSource& tokens)
{
    turn_to(Activity::data);
    const TensorView into = chunk.model->target_tokens(slots_.activation(chunk.index, microbatch));
    upload_(into, [&](const TensorView& on_host) {
        const AtFiles reading(transport_.activity());
        tokens.targets(microbatch, on_host);
    });
}

void Executor::run_backward_input(StageChunk& chunk, const Action& action, TokenSource& tokens)
{
    ModelChunk& model = *chunk.model;
    const std::int32_t c = chunk.index;
    const std::int32_t m = action.microbatch;
    const std::int32_t slot = slots_.activation(c, m);
    const std::int32_t gradient = slots_.gradient(c, m);
    wait_for_buffer(sent_gradient_[gradient]);
    if (model.options().range.head) {
        upload_targets(chunk, m, tokens);
    } else if (stage_.owns(c + 1)) {
        kernels::launch(stream_, kernels::Copy{.from = stage_.chunk(c + 1).model->input_gradient(
                                                   slots_.gradient(c + 1, m)),
                                               .to = model.output_gradient(gradient)});
    } else {
        take(received_gradient_[gradient], model.output_gradient(gradient), c, m, true);
    }
    turn_to(Activity::compute);
    if (action.kind == ActionKind::backward)
        model.backward(slot, gradient, chunk.warmup.alphas(), loss_scale_, observer_of(m));
    else
        model.backward_input(slot, gradient, chunk.warmup.alphas(), loss_scale_);
    if (model.options().range.head)
        download_(model.token_losses(), losses_[static_cast<std::size_t>(m)]);
}

void Executor::post(StageChunk& chunk, const Action& action)
{
    const std::int32_t c = action.chunk;
    const std::int32_t m = action.microbatch;
    const ModelChunk& model = *chunk.model;
    const auto rank_of = [&](std::int32_t index) { return program_.rank_of_chunk[index]; };
    switch (action.kind) {
    case ActionKind::receive_activation: {
        const std::int32_t inbox = slots_.inbox(c, m);
        received_activation_[inbox] =
            transport_.receive(stage_.inbox(inbox), rank_of(c - 1), {c, m, false});
        break;
    }
    case ActionKind::send_activation: {
        const std::int32_t slot = slots_.activation(c, m);
        sent_activation_[slot] =
            transport_.send(model.output(slot), rank_of(c + 1), {c + 1, m, false});
        record(End::sender, c, false, m, model.output(slot));
        break;
    }
    case ActionKind::receive_gradient: {
        // The slot may last have held another chunk's gradient, laid out in another way.
        const std::int32_t gradient = slots_.gradient(c, m);
        wait_for_buffer(sent_gradient_[gradient]);
        received_gradient_[gradient] =
            transport_.receive(model.output_gradient(gradient), rank_of(c + 1), {c, m, true});
        break;
    }
    case ActionKind::send_gradient: {
        const std::int32_t gradient = slots_.gradient(c, m);
        sent_gradient_[gradient] =
            transport_.send(model.input_gradient(gradient), rank_of(c - 1), {c - 1, m, true});
        record(End::sender, c - 1, true, m, model.input_gradient(gradient));
        break;
    }
    default: SLUICE_CHECK(false, text_of(action));
    }
}

void Executor::take(MessageId& message, const TensorView& tensor, std::int32_t chunk,
                    std::int32_t microbatch, bool gradient)
{
    turn_to(Activity::waiting_for_input);
    transport_.wait(std::exchange(message, 0));
    turn_to(Activity::messages);
    if (fault_.chunk == chunk && fault_.microbatch == microbatch && fault_.gradient == gradient) {
        const HostCopy damaged(stream_, tensor);
        static_cast<unsigned char*>(damaged.view().data)[tensor.num_bytes() / 2] ^= 0x10;
        damaged.write_back();
        fault_.chunk = -1;
    }
    record(End::receiver, gradient ? chunk : chunk - 1, gradient, microbatch, tensor);
}

/// In the order of the stream: a sent message stays as it is until its buffer is used again, so it
/// need not wait for this on its way; a received one is there when the stream comes here.
void Executor::record(End end, std::int32_t edge, bool gradient, std::int32_t microbatch,
                      const TensorView& tensor)
{
    if (!messages_)
        return;
    const std::size_t first = end == End::sender ? 0 : checksums_.sent.size();
    // Weighted by an odd number of the micro-batch, so that exchanged messages do not cancel out.
    messages_->add(first + static_cast<std::size_t>(2 * edge + (gradient ? 1 : 0)), tensor,
                   2 * static_cast<std::uint64_t>(microbatch) + 1);
}

const TransferChecksums& Executor::checksums()
{
    if (!messages_)
        return checksums_;
    const std::span<const std::uint64_t> sums = messages_->sums();
    const std::size_t num_edges = checksums_.sent.size();
    for (std::size_t i = 0; i < num_edges; ++i) {
        checksums_.sent[i] = folded(sums[i], 52);
        checksums_.received[i] = folded(sums[num_edges + i], 52);
    }
    return checksums_;
}

void Executor::wait_for_buffer(MessageId& message)
{
    if (message == 0)
        return;
    turn_to(Activity::waiting_for_buffer);
    transport_.wait(std::exchange(message, 0));
    turn_to(Activity::messages);
}

void Executor::wait_for_sends()
{
    leave_actions(recorder_, transport_.activity(), Activity::waiting_for_sends);
    for (std::vector<MessageId>* messages : {&sent_activation_, &sent_gradient_})
        for (MessageId& message : *messages)
            transport_.wait(std::exchange(message, 0));
}

} // namespace sluice
