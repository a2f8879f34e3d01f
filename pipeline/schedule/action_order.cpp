#include "pipeline/schedule/action_order.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace sluice {

namespace {

/// What has happened to one micro-batch on one chunk, as bits.
enum Done : std::uint8_t {
    did_forward = 1,
    did_input = 2,
    did_weight = 4,
    posted_activation = 8,
    sent_activation = 16,
    posted_gradient = 32,
    sent_gradient = 64,
};

constexpr std::array<std::pair<Done, ActionKind>, 7> kind_of_bit{{
    {did_forward, ActionKind::forward},
    {did_input, ActionKind::backward_input},
    {did_weight, ActionKind::backward_weight},
    {posted_activation, ActionKind::receive_activation},
    {sent_activation, ActionKind::send_activation},
    {posted_gradient, ActionKind::receive_gradient},
    {sent_gradient, ActionKind::send_gradient},
}};

class OrderCheck {
public:
    OrderCheck(const Schedule& schedule, MatchingRule rule, ProblemList& problems)
        : schedule_(schedule), rule_(rule), problems_(problems),
          lowered_(has_communication(schedule))
    {
    }

    void run()
    {
        if (!sizes_are_possible())
            return;
        const auto chunks = static_cast<std::size_t>(schedule_.num_chunks);
        done_.assign(schedule_.num_entries(), 0);
        for (auto& next : due_)
            next.assign(chunks, 0);
        for (auto& order : travelling_)
            order.resize(rule_ == MatchingRule::in_order ? chunks : 0);
        for (std::size_t rank = 0; rank < schedule_.actions.size(); ++rank)
            check_rank(rank);
        for (std::int32_t chunk = 0; chunk < schedule_.num_chunks; ++chunk) {
            find_missing(chunk);
            compare_travelling(chunk);
        }
    }

private:
    bool sizes_are_possible()
    {
        if (schedule_.num_chunks < 1 || schedule_.num_microbatches < 1 ||
            schedule_.num_ranks() < 1 ||
            schedule_.rank_of_chunk.size() != static_cast<std::size_t>(schedule_.num_chunks)) {
            problems_.add("a schedule needs at least one rank, chunk and micro-batch, and a rank "
                          "for each chunk");
            return false;
        }
        for (std::int32_t chunk = 0; chunk < schedule_.num_chunks; ++chunk)
            if (schedule_.rank_of_chunk[chunk] < 0 ||
                schedule_.rank_of_chunk[chunk] >= schedule_.num_ranks()) {
                problems_.add("chunk " + std::to_string(chunk) + " is on rank " +
                              std::to_string(schedule_.rank_of_chunk[chunk]) + " of " +
                              std::to_string(schedule_.num_ranks()));
                return false;
            }
        // Each micro-batch needs at least two actions per chunk; a file that claims far more
        // micro-batches than it has actions must not size our tables.
        std::size_t num_actions = 0;
        for (const auto& actions : schedule_.actions)
            num_actions += actions.size();
        const std::size_t needed = 2 * schedule_.num_entries();
        if (needed > (1u << 16) && needed > 2 * num_actions) {
            problems_.add(std::to_string(num_actions) + " actions where at least " +
                          std::to_string(needed) + " are needed");
            return false;
        }
        return true;
    }

    std::uint8_t& done(std::int32_t chunk, std::int32_t microbatch)
    {
        return done_[schedule_.entry(chunk, microbatch)];
    }

    /// Every bit that a micro-batch on this chunk must have at the end.
    std::uint8_t required(std::int32_t chunk) const
    {
        std::uint8_t bits = did_forward | did_input | did_weight;
        if (lowered_ && schedule_.crosses(chunk - 1))
            bits |= posted_activation | sent_gradient;
        if (lowered_ && schedule_.crosses(chunk))
            bits |= sent_activation | posted_gradient;
        return bits;
    }

    void check_rank(std::size_t rank)
    {
        const auto& actions = schedule_.actions[rank];
        std::size_t num_steps = 0;
        for (std::size_t position = 0; position < actions.size(); ++position) {
            const Action& action = actions[position];
            const auto problem = [&](const std::string& text) {
                problems_.add_at(rank, position, action, text);
            };
            if (action.kind == ActionKind::optimizer_step) {
                if (++num_steps > 1)
                    problem("a second optimizer step");
                else if (position + 1 != actions.size())
                    problem("the optimizer step must be the last action");
                continue;
            }
            if (action.chunk < 0 || action.chunk >= schedule_.num_chunks)
                problem("there are " + std::to_string(schedule_.num_chunks) + " chunks");
            else if (action.microbatch < 0 || action.microbatch >= schedule_.num_microbatches)
                problem("there are " + std::to_string(schedule_.num_microbatches) +
                        " micro-batches");
            else if (const auto owner = schedule_.rank_of_chunk[action.chunk];
                     owner != static_cast<std::int32_t>(rank))
                problem("chunk " + std::to_string(action.chunk) + " belongs to rank " +
                        std::to_string(owner));
            else
                check_action(action, problem);
        }
        if (num_steps == 0)
            problems_.add("rank " + std::to_string(rank) + ", position " +
                          std::to_string(actions.size()) + ": the optimizer step (O) is missing");
    }

    template <class Problem>
    void check_action(const Action& action, const Problem& problem)
    {
        const std::int32_t c = action.chunk;
        switch (action.kind) {
        case ActionKind::forward:
            if (lowered_ && schedule_.crosses(c - 1))
                needs(action, posted_activation, ActionKind::receive_activation, problem);
            mark(action, did_forward, problem);
            break;
        case ActionKind::backward:
        case ActionKind::backward_input:
            needs(action, did_forward, ActionKind::forward, problem);
            if (lowered_ && schedule_.crosses(c))
                needs(action, posted_gradient, ActionKind::receive_gradient, problem);
            mark(action, did_input, problem);
            if (action.kind == ActionKind::backward)
                mark(action, did_weight, problem);
            break;
        case ActionKind::backward_weight:
            needs(action, did_input, ActionKind::backward_input, problem);
            mark(action, did_weight, problem);
            break;
        case ActionKind::receive_activation:
            check_message(action, c - 1, posted_activation, problem);
            break;
        case ActionKind::send_activation:
            needs(action, did_forward, ActionKind::forward, problem);
            check_message(action, c, sent_activation, problem);
            break;
        case ActionKind::receive_gradient:
            check_message(action, c, posted_gradient, problem);
            break;
        case ActionKind::send_gradient:
            needs(action, did_input, ActionKind::backward_input, problem);
            check_message(action, c - 1, sent_gradient, problem);
            break;
        case ActionKind::optimizer_step: break;
        }
    }

    template <class Problem>
    void needs(const Action& action, Done bit, ActionKind kind, const Problem& problem)
    {
        if (!(done(action.chunk, action.microbatch) & bit))
            problem("no " + text_of(Action{kind, action.chunk, action.microbatch}) +
                    " before it on this rank");
    }

    /// Once each, and the compute kinds in micro-batch order.
    template <class Problem>
    void mark(const Action& action, Done bit, const Problem& problem)
    {
        std::uint8_t& bits = done(action.chunk, action.microbatch);
        if (bits & bit)
            problem("a second time");
        bits |= bit;
        const auto which = bit == did_forward ? 0 : bit == did_input ? 1 : 2;
        if (bit > did_weight)
            return;
        std::int32_t& due = due_[which][static_cast<std::size_t>(action.chunk)];
        if (action.microbatch != due && due < schedule_.num_microbatches)
            problem("micro-batch " + std::to_string(due) + " is due: " +
                    (which == 0   ? "forwards"
                     : which == 1 ? "input gradients"
                                  : "weight gradients") +
                    " go in micro-batch order");
        due = action.microbatch + 1;
    }

    template <class Problem>
    void check_message(const Action& action, std::int32_t edge, Done bit, const Problem& problem)
    {
        if (edge < 0 || edge + 1 >= schedule_.num_chunks) {
            problem("there is no chunk on the other side");
            return;
        }
        if (!schedule_.crosses(edge)) {
            problem("both chunks are on this rank, so nothing travels");
            return;
        }
        mark(action, bit, problem);
        const auto list = bit == posted_activation ? 0
                          : bit == sent_activation ? 1
                          : bit == posted_gradient ? 2
                                                   : 3;
        if (rule_ == MatchingRule::in_order)
            travelling_[list][static_cast<std::size_t>(edge)].push_back(action.microbatch);
    }

    void find_missing(std::int32_t chunk)
    {
        const std::uint8_t bits = required(chunk);
        for (std::int32_t m = 0; m < schedule_.num_microbatches; ++m) {
            if ((done(chunk, m) & bits) == bits)
                continue;
            for (const auto& [bit, kind] : kind_of_bit)
                if ((bits & bit) && !(done(chunk, m) & bit))
                    problems_.add([&, kind = kind] {
                        return "rank " + std::to_string(schedule_.rank_of_chunk[chunk]) + ": " +
                               text_of(Action{kind, chunk, m}) + " is missing";
                    });
        }
    }

    /// In-order matching: the k-th receive of an edge and direction gets the k-th send.
    void compare_travelling(std::int32_t edge)
    {
        if (rule_ != MatchingRule::in_order || !schedule_.crosses(edge))
            return;
        const auto e = static_cast<std::size_t>(edge);
        const auto compare = [&](int posted, int sent, std::int32_t to, std::int32_t from,
                                 const char* what) {
            const auto& receives = travelling_[posted][e];
            const auto& sends = travelling_[sent][e];
            for (std::size_t k = 0; k < std::min(receives.size(), sends.size()); ++k)
                if (receives[k] != sends[k]) {
                    problems_.add("rank " + std::to_string(schedule_.rank_of_chunk[to]) +
                                  " receives the " + what + " of micro-batch " +
                                  std::to_string(receives[k]) + " for chunk " + std::to_string(to) +
                                  " where rank " + std::to_string(schedule_.rank_of_chunk[from]) +
                                  " sends that of " + std::to_string(sends[k]) +
                                  ": messages match in order here");
                    return;
                }
        };
        compare(0, 1, edge + 1, edge, "activation");
        compare(2, 3, edge, edge + 1, "gradient");
    }

    const Schedule& schedule_;
    MatchingRule rule_;
    ProblemList& problems_;
    bool lowered_;
    std::vector<std::uint8_t> done_; ///< [chunk * M + m], bits of Done
    /// [forward, input, weight][chunk]: the micro-batch whose turn it is.
    std::array<std::vector<std::int32_t>, 3> due_;
    /// [posted and sent activations, posted and sent gradients][edge]: micro-batches in order; only
    /// for in-order matching.
    std::array<std::vector<std::vector<std::int32_t>>, 4> travelling_;
};

} // namespace

void check_action_order(const Schedule& schedule, MatchingRule rule, ProblemList& problems)
{
    OrderCheck(schedule, rule, problems).run();
}

} // namespace sluice
