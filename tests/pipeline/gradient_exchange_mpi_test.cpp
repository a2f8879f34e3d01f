// np: 2 3 4
#include "pipeline/gradient_exchange.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/transport/transport_over.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace sluice;
using sluice::testing::sends_started;
using sluice::testing::shared_transport;

namespace {

/// The embedding is larger than a layer (and travels in pieces), the norms are smaller than a part.
const ModelSpec model{.vocab_size = 700,
                      .hidden_size = 12,
                      .intermediate_size = 20,
                      .num_layers = 3,
                      .num_heads = 2,
                      .max_seq_len = 4};
constexpr std::size_t num_groups = 5; ///< embedding, three layers, final norm and head

struct Replica {
    Schedule program = with_communication(make_1f1b(1, 1));
    ScheduleReport report = check_schedule(program);
    Stage stage{
        StageOptions{.model = model,
                     .micro_batch = {1, 4},
                     .stream = {.backend = Backend::cpu},
                     .warmup = WarmupSchedule::off,
                     .warmup_steps = 1,
                     .rank = 0,
                     .moments = {shared_transport().rank(), shared_transport().num_ranks()}},
        program,
        report.slots,
        {{.begin = 0, .end = 3, .embedding = true, .head = true}}};

    std::span<Parameter> parameters() { return stage.chunks().front().model->parameters(); }

    /// Backward order, as a chunk tells it: group by group from the last.
    template <class Each>
    void in_backward_order(const Each& each)
    {
        auto groups = groups_of(parameters());
        std::reverse(groups.begin(), groups.end());
        for (const ParameterGroup& group : groups)
            each(parameters().subspan(group.first, group.last - group.first));
    }
};

/// Numbers whose float sums depend on the order of addition.
float gradient_of(int replica, std::size_t parameter, std::int64_t element, int update)
{
    const auto mixed = static_cast<std::uint32_t>(
        (static_cast<std::uint64_t>(replica * 7919 + static_cast<int>(parameter) * 104729 +
                                    update) *
             1000003u +
         static_cast<std::uint64_t>(element)) *
        2654435761u);
    return (static_cast<float>(mixed >> 8) / 16777216.0f - 0.5f) *
           (replica % 2 == 0 ? 1.0f : 3e-3f);
}

float expected_sum(std::size_t parameter, std::int64_t element, int update)
{
    float sum = gradient_of(0, parameter, element, update);
    for (int replica = 1; replica < shared_transport().num_ranks(); ++replica)
        sum = sum + gradient_of(replica, parameter, element, update);
    return sum;
}

void fill_gradients(Replica& replica, int update)
{
    std::size_t index = 0;
    for (const Parameter& parameter : replica.parameters()) {
        const auto gradient = parameter.gradient.elements<float>();
        for (std::size_t i = 0; i < gradient.size(); ++i)
            gradient[i] =
                gradient_of(shared_transport().rank(), index, static_cast<std::int64_t>(i), update);
        ++index;
    }
}

/// Elements that are not what they should be: the sum where this replica owns them, elsewhere what
/// it computed.
std::int64_t num_wrong(Replica& replica, int update)
{
    std::int64_t wrong = 0;
    std::size_t index = 0;
    for (const Parameter& parameter : replica.parameters()) {
        const auto gradient = parameter.gradient.elements<float>();
        for (std::int64_t i = 0; i < parameter.gradient.num_elements(); ++i) {
            const bool owned = i >= parameter.owned.begin && i < parameter.owned.end;
            const float expected = owned ? expected_sum(index, i, update)
                                         : gradient_of(shared_transport().rank(), index, i, update);
            wrong += gradient[static_cast<std::size_t>(i)] != expected;
        }
        ++index;
    }
    return wrong;
}

/// Writes down which messages were asked for in which group.
class WrittenDown : public TransportOver {
public:
    using TransportOver::TransportOver;
    void begin_group() override { inside_ = true; }
    void end_group() override
    {
        inside_ = false;
        ++num_groups_;
    }
    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        write_down(rank(), to_rank, tensor);
        return host().send(tensor, to_rank, label);
    }
    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        write_down(from_rank, rank(), tensor);
        return host().receive(tensor, from_rank, label);
    }
    void wait(MessageId message) override
    {
        BOOST_TEST(!inside_);
        host().wait(message);
    }
    bool is_done(MessageId message) override { return host().is_done(message); }
    void progress() override { host().progress(); }

    /// From one rank to another, as this one saw it; a line each.
    std::string between(int from, int to) const
    {
        const auto found = lines_.find({from, to});
        return found == lines_.end() ? "" : found->second;
    }

private:
    void write_down(int from, int to, const TensorView& tensor)
    {
        BOOST_TEST(inside_);
        lines_[{from, to}] += "group " + std::to_string(num_groups_) + ": " +
                              std::to_string(tensor.num_bytes()) + " bytes\n";
    }
    bool inside_ = false;
    int num_groups_ = 0;
    std::map<std::pair<int, int>, std::string> lines_;
};

/// Whether what was sent to each replica is what it received.
bool checksums_agree(GradientExchange& exchange)
{
    std::vector<double> sent(exchange.checksums().sent), received(sent.size(), 0.0);
    received[static_cast<std::size_t>(shared_transport().rank())] = exchange.checksums().received;
    shared_transport().sum(sent);
    shared_transport().sum(received);
    BOOST_TEST(*std::min_element(sent.begin(), sent.end()) > 0.0);
    return sent == received;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gradient_exchange)

BOOST_AUTO_TEST_CASE(sums_are_in_the_order_of_the_replicas)
{
    Replica replica;
    GradientExchange exchange(replica.stage, shared_transport(), VerifyTransfers::yes);
    for (const int update : {1, 2, 3}) {
        fill_gradients(replica, update);
        replica.in_backward_order([&](std::span<const Parameter> parameters) {
            exchange.gradients_done(parameters);
            exchange.progress();
        });
        exchange.finish();
        BOOST_TEST(num_wrong(replica, update) == 0);
        BOOST_TEST(checksums_agree(exchange));
    }
}

BOOST_AUTO_TEST_CASE(a_group_arrives_while_others_are_still_being_computed)
{
    Replica replica;
    GradientExchange exchange(replica.stage, shared_transport(), VerifyTransfers::no);
    fill_gradients(replica, 4);
    const std::span<Parameter> parameters = replica.parameters();
    const ParameterGroup layer = groups_of(parameters)[3];
    const auto members =
        std::span<const Parameter>(parameters).subspan(layer.first, layer.last - layer.first);
    const auto owned = std::find_if(members.begin(), members.end(),
                                    [](const Parameter& one) { return !one.owned.empty(); });
    BOOST_REQUIRE(owned != members.end());
    const std::size_t index = static_cast<std::size_t>(owned - members.begin()) + layer.first;
    const float own = owned->owned_gradient().as<float>()[0];
    // Only this group is final; the tests' watchdog ends a wait for ever.
    exchange.gradients_done(members);
    while (owned->owned_gradient().as<float>()[0] == own)
        exchange.progress();
    BOOST_TEST(owned->owned_gradient().as<float>()[0] ==
               expected_sum(index, owned->owned.begin, 4));
    BOOST_CHECK_THROW(exchange.finish(), InvariantError); // others are missing
    BOOST_CHECK_THROW(exchange.gradients_done(members), InvariantError);
    replica.in_backward_order([&](std::span<const Parameter> group) {
        if (group.data() != members.data())
            exchange.gradients_done(group);
    });
    exchange.finish();
    BOOST_TEST(num_wrong(replica, 4) == 0);
}

BOOST_AUTO_TEST_CASE(parameters_may_become_final_one_by_one)
{
    Replica replica;
    GradientExchange exchange(replica.stage, shared_transport(), VerifyTransfers::yes);
    fill_gradients(replica, 5);
    for (const Parameter& parameter : replica.parameters())
        exchange.gradients_done({&parameter, 1});
    exchange.finish();
    BOOST_TEST(num_wrong(replica, 5) == 0);
}

BOOST_AUTO_TEST_CASE(weights_come_back_from_their_owners)
{
    Replica replica;
    GradientExchange exchange(replica.stage, shared_transport(), VerifyTransfers::yes);
    for (const Parameter& parameter : replica.parameters())
        for (const std::int64_t i : {std::int64_t{0}, parameter.owned.size() - 1})
            if (!parameter.owned.empty())
                parameter.owned_value().as<float>()[i] =
                    static_cast<float>(parameter.owned.begin + i + 1);
    const std::int64_t before = sends_started();
    exchange.gather_weights();
    BOOST_TEST(sends_started() - before ==
               static_cast<std::int64_t>(num_groups) * (shared_transport().num_ranks() - 1));
    std::size_t index = 0;
    for (const ParameterGroup& group : groups_of(replica.parameters()))
        for (; index < group.last; ++index)
            for (int owner = 0; owner < shared_transport().num_ranks(); ++owner) {
                const Parameter& parameter = replica.parameters()[index];
                const ElementRange part =
                    owned_elements(group, parameter, {owner, shared_transport().num_ranks()});
                if (part.empty())
                    continue;
                BOOST_TEST(parameter.value.as<float>()[part.begin] ==
                           static_cast<float>(part.begin + 1));
                BOOST_TEST(parameter.value.as<float>()[part.end - 1] ==
                           static_cast<float>(part.end));
            }
}

BOOST_AUTO_TEST_CASE(one_message_per_piece_and_peer)
{
    Replica replica;
    GradientExchange exchange(replica.stage, shared_transport(), VerifyTransfers::no);
    const auto groups = groups_of(replica.parameters());
    const std::int64_t layer = groups[1].value.num_elements();
    std::int64_t num_pieces = 0;
    for (const ParameterGroup& group : groups)
        num_pieces += (group.value.num_elements() + layer - 1) / layer;
    BOOST_TEST(num_pieces > static_cast<std::int64_t>(num_groups));
    const std::int64_t before = sends_started();
    exchange.gradients_done(replica.parameters());
    exchange.finish();
    BOOST_TEST(sends_started() - before == num_pieces * (shared_transport().num_ranks() - 1));
}

// NCCL matches in order, and a group waits for the same one on the others (nccl_group_transport).
BOOST_AUTO_TEST_CASE(both_ends_ask_for_the_same_messages_in_the_same_groups)
{
    Replica replica;
    WrittenDown peers(shared_transport());
    GradientExchange exchange(replica.stage, peers, VerifyTransfers::yes);
    for (const int update : {1, 2}) {
        fill_gradients(replica, update);
        replica.in_backward_order([&](std::span<const Parameter> parameters) {
            exchange.gradients_done(parameters);
            if (shared_transport().rank() % 2 == update % 2) // some look after it more often
                exchange.progress();
        });
        exchange.finish();
        exchange.gather_weights();
    }
    const int ranks = peers.num_ranks();
    for (int from = 0; from < ranks; ++from)
        for (int to = 0; to < ranks; ++to) {
            if (from == to)
                continue;
            const std::vector<std::string> seen =
                shared_transport().gather_text(peers.between(from, to));
            BOOST_TEST(!seen[static_cast<std::size_t>(from)].empty());
            BOOST_TEST(seen[static_cast<std::size_t>(from)] == seen[static_cast<std::size_t>(to)]);
        }
}

BOOST_AUTO_TEST_CASE(a_bit_flipped_on_the_way_changes_the_checksums)
{
    Replica replica;
    GradientExchange exchange(replica.stage, shared_transport(), VerifyTransfers::yes);
    for (const bool flip : {false, true}) {
        if (flip && shared_transport().rank() == 1)
            exchange.inject_flip();
        fill_gradients(replica, 6);
        exchange.gradients_done(replica.parameters());
        exchange.finish();
        BOOST_TEST(checksums_agree(exchange) == !flip);
    }
}

BOOST_AUTO_TEST_CASE(buffers_are_those_of_the_plan)
{
    const int num_replicas = shared_transport().num_ranks();
    BOOST_TEST(exchange_bytes(model, fp32_precision, 1, Device{}) == 0U);
    Arena values, gradients, states;
    const auto layer = groups_of(allocate_parameters(model, {.begin = 0, .end = 1}, fp32_precision,
                                                     {}, values, gradients, states))
                           .front()
                           .value.num_bytes();
    const std::size_t others = 2 * layer * static_cast<std::size_t>(num_replicas - 1) /
                               static_cast<std::size_t>(num_replicas);
    BOOST_TEST(exchange_bytes(model, fp32_precision, num_replicas, Device{}) >= others);
    BOOST_TEST(exchange_bytes(model, fp32_precision, num_replicas, Device{}) <=
               others + 2 * 64 * static_cast<std::size_t>(num_replicas));
}

BOOST_AUTO_TEST_SUITE_END()
