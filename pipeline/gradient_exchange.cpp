#include "pipeline/gradient_exchange.hpp"

#include "core/compute_stream.hpp"
#include "layers/chunk_layout.hpp"
#include "layers/kernels/elementwise.hpp"

#include <algorithm>
#include <utility>

namespace sluice {

namespace {

/// Two: one piece arrives while the next is being asked for. On GPUs a piece is added up, and its
/// buffer free, only behind what was queued until it was seen to be there: one more.
std::size_t num_buffers(const Device& device) { return device.kind == DeviceKind::cpu ? 2 : 3; }

/// That the host may be ahead of a GPU while pieces wait for buffers: enough to keep it busy.
constexpr std::size_t most_groups_ahead = 2;

/// Elements of one decoder layer's parameters: what a piece holds at most.
std::int64_t largest_piece(const ModelSpec& model, const Precision& precision)
{
    Arena values, gradients, states;
    const auto parameters = allocate_parameters(model, {.begin = 0, .end = 1}, precision, {},
                                                values, gradients, states);
    return groups_of(parameters).front().value.num_elements();
}

/// Elements of the largest part of a piece of `num_elements`.
std::int64_t largest_part(std::int64_t num_elements, DType dtype, int num_replicas)
{
    std::int64_t largest = 0;
    for (int replica = 0; replica < num_replicas; ++replica)
        largest = std::max(largest, part_of(num_elements, dtype, {replica, num_replicas}).size());
    return largest;
}

std::vector<TensorView> allocate_buffer(Arena& arena, const ModelSpec& model,
                                        const Precision& precision, int num_replicas)
{
    std::vector<TensorView> gradients;
    const std::int64_t part =
        largest_part(largest_piece(model, precision), precision.compute, num_replicas);
    for (int other = 0; other + 1 < num_replicas; ++other)
        gradients.push_back(arena.allocate(precision.gradient, {part}));
    return gradients;
}

} // namespace

std::size_t exchange_bytes(const ModelSpec& model, const Precision& precision, int num_replicas,
                           const Device& device)
{
    Arena counting;
    if (num_replicas == 1)
        return 0;
    for (std::size_t i = 0; i < num_buffers(device); ++i)
        allocate_buffer(counting, model, precision, num_replicas);
    return counting.used_bytes();
}

GradientExchange::GradientExchange(Stage& stage, Transport& peers, VerifyTransfers verify)
    : peers_(peers)
{
    if (!active())
        return;
    const ModelChunkOptions& options = stage.chunks().front().model->options();
    const int num_replicas = peers_.num_ranks();
    const std::int64_t largest = largest_piece(options.model, options.precision);
    stream_ = options.stream;
    memory_ = Arena(exchange_bytes(options.model, options.precision, num_replicas, stream_.device),
                    stream_.device);
    pace_.emplace(stream_, most_groups_ahead);
    for (StageChunk& chunk : stage.chunks()) {
        SLUICE_CHECK((chunk.model->options().moments == MomentShard{peers_.rank(), num_replicas}),
                     "chunk " << chunk.index << " holds other moments than those of replica "
                              << peers_.rank());
        for (const ParameterGroup& group : groups_of(chunk.model->parameters())) {
            groups_.push_back({.value = group.value,
                               .gradient = group.gradient,
                               .num_parameters = group.last - group.first});
            cut_into_pieces(groups_.back(), groups_.size() - 1, largest);
        }
    }
    for (std::size_t i = 0; i < num_buffers(stream_.device); ++i)
        buffers_.push_back(
            {allocate_buffer(memory_, options.model, options.precision, num_replicas),
             std::vector<MessageId>(static_cast<std::size_t>(num_replicas - 1), 0)});
    order_.reserve(pieces_.size());
    under_way_.reserve(2 * pieces_.size() * static_cast<std::size_t>(num_replicas));
    const auto replicas = static_cast<std::size_t>(num_replicas);
    checksums_.sent.resize(replicas);
    if (verify == VerifyTransfers::yes)
        sums_.emplace(stream_, 2 * replicas, 2 * pieces_.size() * (replicas - 1));
}

void GradientExchange::cut_into_pieces(Group& group, std::size_t index, std::int64_t largest)
{
    const DType dtype = group.value.dtype;
    const std::int64_t num_elements = group.gradient.num_elements();
    const auto num_pieces = static_cast<int>((num_elements + largest - 1) / largest);
    group.first_piece = pieces_.size();
    for (int i = 0; i < num_pieces; ++i) {
        Piece piece{.group = index, .parts = {}};
        for (int owner = 0; owner < peers_.num_ranks(); ++owner) {
            const ElementRange part = part_of(num_elements, dtype, {owner, peers_.num_ranks()});
            const ElementRange inside = part_of(part.size(), dtype, {i, num_pieces});
            piece.parts.push_back({part.begin + inside.begin, part.begin + inside.end});
        }
        pieces_.push_back(std::move(piece));
    }
    group.last_piece = pieces_.size();
}

std::size_t GradientExchange::group_of(const Parameter& parameter) const
{
    const auto* const place = static_cast<const std::byte*>(parameter.gradient.data);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
        const auto* const begin = static_cast<const std::byte*>(groups_[i].gradient.data);
        if (place >= begin && place < begin + groups_[i].gradient.num_bytes())
            return i;
    }
    SLUICE_CHECK(false, parameter.spec.name << " is not of this stage");
    return 0;
}

void GradientExchange::rehearse()
{
    if (!active() || pieces_.empty())
        return;
    const TensorView buffer = buffers_.front().gradients.front();
    kernels::launch(stream_, kernels::Fill{.to = buffer, .value = 0.0});
    kernels::launch(stream_, kernels::Add{.x = buffer, .y = buffer});
    if (sums_) {
        sums_->add(0, buffer, 1);
        sums_->clear();
    }
}

void GradientExchange::gradients_done(std::span<const Parameter> parameters)
{
    if (!active())
        return;
    for (const Parameter& parameter : parameters) {
        Group& group = groups_[group_of(parameter)];
        SLUICE_CHECK(group.num_done < group.num_parameters,
                     parameter.spec.name << " was final before");
        if (++group.num_done < group.num_parameters)
            continue;
        for (std::size_t piece = group.first_piece; piece < group.last_piece; ++piece)
            order_.push_back(piece);
    }
    progress();
    pace_->step(num_started_ < order_.size());
}

int GradientExchange::replica_of(std::size_t other) const
{
    const int index = static_cast<int>(other);
    return index < peers_.rank() ? index : index + 1;
}

TensorView GradientExchange::part_of_gradient(const Piece& piece, int owner) const
{
    const ElementRange part = piece.parts[static_cast<std::size_t>(owner)];
    return groups_[piece.group].gradient.slice(part.begin, {part.size()});
}

void GradientExchange::start(std::size_t index)
{
    if (sums_ && num_started_ == 0)
        sums_->clear();
    const Piece& piece = pieces_[index];
    const MessageLabel label{.chunk = 0,
                             .microbatch = static_cast<std::int32_t>(index),
                             .gradient = true,
                             .called = "gradients of piece"};
    Buffer& buffer = buffer_of(num_started_);
    const ElementRange mine = piece.parts[static_cast<std::size_t>(peers_.rank())];
    peers_.begin_group();
    for (std::size_t other = 0; other < buffer.received.size(); ++other) {
        const int replica = replica_of(other);
        if (!mine.empty())
            buffer.received[other] =
                peers_.receive(buffer.gradients[other].slice(0, {mine.size()}), replica, label);
        const TensorView theirs = part_of_gradient(piece, replica);
        if (theirs.num_elements() > 0)
            under_way_.push_back(peers_.send(theirs, replica, label));
    }
    peers_.end_group();
    for (std::size_t other = 0; other < buffer.received.size(); ++other)
        record(static_cast<std::size_t>(replica_of(other)),
               part_of_gradient(piece, replica_of(other)), index);
}

/// As Executor::record().
void GradientExchange::record(std::size_t sum, const TensorView& part, std::size_t piece)
{
    // Weighted by an odd number, so that exchanged pieces do not cancel out.
    if (sums_ && part.num_elements() > 0)
        sums_->add(sum, part, 2 * static_cast<std::uint64_t>(piece) + 1);
}

void GradientExchange::add_up(std::size_t index)
{
    const Piece& piece = pieces_[index];
    Buffer& buffer = buffer_of(num_added_);
    const TensorView mine = part_of_gradient(piece, peers_.rank());
    if (mine.num_elements() == 0)
        return;
    const auto received = [&](std::size_t other) {
        return buffer.gradients[other].slice(0, mine.shape);
    };
    if (std::exchange(flip_next_, false)) {
        const HostCopy damaged(stream_, received(0));
        static_cast<unsigned char*>(damaged.view().data)[received(0).num_bytes() / 2] ^= 0x10;
        damaged.write_back();
    }
    for (std::size_t other = 0; other < buffer.gradients.size(); ++other)
        record(checksums_.sent.size() + static_cast<std::size_t>(replica_of(other)),
               received(other), index);
    // In the order of the replicas: what comes before this one is added up in the first buffer.
    const auto num_before = static_cast<std::size_t>(peers_.rank());
    for (std::size_t other = 1; other < num_before; ++other)
        kernels::launch(stream_, kernels::Add{.x = received(other), .y = received(0)});
    if (num_before > 0)
        kernels::launch(stream_, kernels::Add{.x = received(0), .y = mine});
    for (std::size_t other = num_before; other < buffer.gradients.size(); ++other)
        kernels::launch(stream_, kernels::Add{.x = received(other), .y = mine});
}

void GradientExchange::start_what_is_ready()
{
    while (num_started_ < order_.size() && num_started_ < num_added_ + buffers_.size()) {
        start(order_[num_started_]);
        ++num_started_;
    }
}

void GradientExchange::progress()
{
    if (!active())
        return;
    peers_.progress();
    start_what_is_ready();
    while (num_added_ < num_started_) {
        Buffer& buffer = buffer_of(num_added_);
        if (!std::all_of(buffer.received.begin(), buffer.received.end(),
                         [&](MessageId message) { return peers_.is_done(message); }))
            return;
        for (MessageId& message : buffer.received)
            peers_.wait(std::exchange(message, 0));
        add_up(order_[num_added_]);
        ++num_added_;
        start_what_is_ready();
    }
}

void GradientExchange::finish()
{
    if (!active())
        return;
    SLUICE_CHECK(order_.size() == pieces_.size(),
                 order_.size() << " of " << pieces_.size() << " pieces are final");
    while (num_added_ < order_.size()) {
        progress();
        if (num_added_ == order_.size())
            break;
        for (MessageId& message : buffer_of(num_added_).received)
            peers_.wait(std::exchange(message, 0));
    }
    for (const MessageId message : under_way_)
        peers_.wait(message);
    if (sums_)
        sums_->send();
    under_way_.clear();
    order_.clear();
    num_started_ = num_added_ = 0;
    for (Group& group : groups_)
        group.num_done = 0;
}

const ExchangeChecksums& GradientExchange::checksums()
{
    if (!sums_)
        return checksums_;
    const std::span<const std::uint64_t> sums = sums_->sums();
    checksums_.received = 0.0;
    for (std::size_t replica = 0; replica < checksums_.sent.size(); ++replica) {
        checksums_.sent[replica] = folded(sums[replica], 40);
        checksums_.received += folded(sums[checksums_.sent.size() + replica], 40);
    }
    return checksums_;
}

void GradientExchange::gather_weights()
{
    // A few groups at a time: each is one message per peer and direction.
    constexpr std::size_t groups_at_once = 16;
    for (std::size_t first = 0; first < groups_.size(); first += groups_at_once) {
        peers_.begin_group();
        for (std::size_t i = first; i < std::min(first + groups_at_once, groups_.size()); ++i) {
            const TensorView& value = groups_[i].value;
            const MessageLabel label{.chunk = 0,
                                     .microbatch = static_cast<std::int32_t>(i),
                                     .gradient = false,
                                     .called = "weights of group"};
            const auto part = [&](int replica) {
                const ElementRange range =
                    part_of(value.num_elements(), value.dtype, {replica, peers_.num_ranks()});
                return value.slice(range.begin, {range.size()});
            };
            for (std::size_t other = 0; other + 1 < checksums_.sent.size(); ++other) {
                const int replica = replica_of(other);
                if (part(replica).num_elements() > 0)
                    under_way_.push_back(peers_.receive(part(replica), replica, label));
                if (part(peers_.rank()).num_elements() > 0)
                    under_way_.push_back(peers_.send(part(peers_.rank()), replica, label));
            }
        }
        peers_.end_group();
        for (const MessageId message : under_way_)
            peers_.wait(message);
        under_way_.clear();
    }
}

} // namespace sluice
