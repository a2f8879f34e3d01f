// A pipeline schedule as data: a list of actions per rank.
//
// Schedules are made by pure functions (one file per family), proved by schedule_checker, priced by
// the simulator and run by the executor. None of them knows more than this type.
//
// Text form, one line per rank, actions separated by blanks, `#` starts a comment:
//
//     ranks 2 chunks 2 microbatches 4
//     0: 0F0 0F1 0B0 0F2 0B1 0F3 0B2 0B3 O
//     1: 1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3 O
//
// <chunk><kind><micro-batch>: F forward, B whole backward, I input gradient, W weight gradient;
// RA/SA receive/send activation, RG/SG receive/send gradient (as in 1RA0: chunk 1 receives its
// input for micro-batch 0); O is the optimizer step. Chunk c's input comes from chunk c-1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// First what computes, then messages: computes() and is_message() go by the order.
enum class ActionKind : std::uint8_t {
    forward,
    backward, ///< backward_input directly followed by backward_weight
    backward_input,
    backward_weight,
    receive_activation, ///< POSTS the receive; the consuming compute action waits for it
    send_activation,    ///< starts the send; its buffer is waited for before it is overwritten
    receive_gradient,
    send_gradient,
    optimizer_step,
};

constexpr bool computes(ActionKind kind) { return kind <= ActionKind::backward_weight; }
constexpr bool is_message(ActionKind kind)
{
    return kind >= ActionKind::receive_activation && kind <= ActionKind::send_gradient;
}

struct Action {
    ActionKind kind = ActionKind::forward;
    std::int32_t chunk = 0;
    std::int32_t microbatch = 0;
    bool operator==(const Action&) const = default;
};

/// Where tables with one entry per micro-batch of each chunk, [chunk * M + m], hold this one.
constexpr std::size_t table_entry(std::int32_t chunk, std::int32_t microbatch,
                                  std::int32_t num_microbatches)
{
    return static_cast<std::size_t>(chunk) * static_cast<std::size_t>(num_microbatches) +
           static_cast<std::size_t>(microbatch);
}

struct Schedule {
    std::int32_t num_chunks = 0;
    std::int32_t num_microbatches = 0;
    std::vector<std::int32_t> rank_of_chunk;  ///< [num_chunks]
    std::vector<std::vector<Action>> actions; ///< [rank][...]

    std::int32_t num_ranks() const { return static_cast<std::int32_t>(actions.size()); }
    /// Whether messages travel between `chunk` and the next one: both are there, on two ranks.
    bool crosses(std::int32_t chunk) const
    {
        return chunk >= 0 && chunk + 1 < num_chunks &&
               rank_of_chunk[static_cast<std::size_t>(chunk)] !=
                   rank_of_chunk[static_cast<std::size_t>(chunk) + 1];
    }
    /// table_entry() of this schedule, and how many there are.
    std::size_t entry(std::int32_t chunk, std::int32_t microbatch) const
    {
        return table_entry(chunk, microbatch, num_microbatches);
    }
    std::size_t num_entries() const { return entry(num_chunks, 0); }
    bool operator==(const Schedule&) const = default;
};

std::string text_of(const Action& action);
std::string text_of(const Schedule& schedule);
/// Throws UserError (usage) naming the line and the token that is not understood. `source` names
/// the file in messages.
Schedule parse_schedule(std::string_view text, std::string_view source);

/// All forwards, then all backwards, in micro-batch order.
Schedule make_gpipe(std::int32_t num_ranks, std::int32_t num_microbatches);
/// One forward, one backward. Rank i of P starts with (P-1-i) (1 + extra_warmup) forwards: the
/// minimum, and `extra_warmup` more per stage behind, which hide transfer time at the price of as
/// many more live activations. 1 doubles the warm-up and hides transfers up to half of F + B.
Schedule make_1f1b(std::int32_t num_ranks, std::int32_t num_microbatches,
                   std::int32_t extra_warmup = 0);

/// Adds the sends and receives between chunks on different ranks: a send directly behind the action
/// that produces it, a receive posted `receive_ahead` compute actions before the one that needs it
/// (0: directly before it), or earlier, where chunks of two ranks would else receive messages of
/// one kind in another order than they are sent in. A receive posted early takes a slot early; the
/// checker counts it.
Schedule with_communication(const Schedule& schedule, std::int32_t receive_ahead = 1);

/// Forwards only, with communication, as evaluation runs them: forward_only_slots() gives each
/// chunk the one slot it needs.
Schedule make_forward_only(const std::vector<std::int32_t>& rank_of_chunk, std::int32_t num_ranks,
                           std::int32_t num_microbatches);

} // namespace sluice
