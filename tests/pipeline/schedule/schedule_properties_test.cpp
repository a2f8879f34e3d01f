// What must hold for every schedule that can be asked for, whatever the sizes and costs.

#include "core/random.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>

using namespace sluice;

namespace {

std::string in_words(const ScheduleRequest& request)
{
    std::string text =
        std::string(name_of(request.family)) + " P " + std::to_string(request.num_ranks) + " M " +
        std::to_string(request.num_microbatches) + " v " + std::to_string(request.chunks_per_rank) +
        " extra " + std::to_string(request.extra_warmup) + ":";
    for (const ChunkCosts& c : request.costs)
        text += " (" + std::to_string(c.forward) + " " + std::to_string(c.backward_input) + " " +
                std::to_string(c.backward_weight) + " " + std::to_string(c.transfer) + ")";
    return text;
}

std::int32_t most_live(const Schedule& schedule)
{
    std::int32_t most = 0;
    for (const auto& actions : schedule.actions) {
        std::int32_t live = 0;
        for (const Action& action : actions) {
            if (action.kind == ActionKind::forward)
                most = std::max(most, ++live);
            if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight)
                --live;
        }
    }
    return most;
}

enum class CostKind : std::uint8_t { none, alike, alike_with_transfers, uneven, wild };

/// Requests drawn at random; small sizes are likelier, and M below, at and around P.
class Requests {
public:
    explicit Requests(std::uint64_t seed) : random_(seed, "test.requests") {}

    ScheduleRequest next(ScheduleFamily family, CostKind costs)
    {
        ScheduleRequest request;
        request.family = family;
        request.num_ranks = pick({1, 2, 3, 4, 5, 8, 11});
        request.num_microbatches = draw(3) == 0
                                       ? pick({1, 2, request.num_ranks, request.num_ranks + 1,
                                               2 * request.num_ranks - 1, 3 * request.num_ranks})
                                       : 1 + draw(24);
        request.chunks_per_rank = chunks_per_rank_of(family, pick({1, 2, 3, 5, 9}));
        if (takes_extra_warmup(family))
            request.extra_warmup = pick({0, 0, 1, 2, 7});
        if (costs != CostKind::none)
            request.costs = draw_costs(request.num_ranks * request.chunks_per_rank, costs);
        return request;
    }

private:
    std::int32_t draw(std::int32_t below)
    {
        return static_cast<std::int32_t>(random_.bits(drawn_++) % static_cast<unsigned>(below));
    }
    std::int32_t pick(std::initializer_list<std::int32_t> from)
    {
        return from.begin()[draw(static_cast<std::int32_t>(from.size()))];
    }
    std::vector<ChunkCosts> draw_costs(std::int32_t num_chunks, CostKind kind)
    {
        const auto tenths = [&](std::int32_t least, std::int32_t most) {
            return 0.1 * (least + draw(most - least + 1));
        };
        const auto one = [&]() -> ChunkCosts {
            if (kind == CostKind::wild) // most nothing, some a hundred times the others
                return {tenths(0, 1) * draw(100), tenths(0, 1) * draw(100),
                        tenths(0, 1) * draw(100), tenths(0, 20)};
            return {tenths(5, 20), tenths(5, 20), tenths(5, 20),
                    kind == CostKind::alike ? 0.0 : tenths(0, 5)};
        };
        std::vector<ChunkCosts> costs(static_cast<std::size_t>(num_chunks), one());
        if (kind == CostKind::uneven || kind == CostKind::wild)
            std::generate(costs.begin(), costs.end(), one);
        return costs;
    }

    RandomStream random_;
    std::uint64_t drawn_ = 0;
};

/// Calls `test` with many requests of every family.
template <class Test>
void for_many_requests(std::initializer_list<CostKind> kinds, int repeats, const Test& test)
{
    Requests requests(20);
    for (const ScheduleFamily family : all_schedule_families)
        for (const CostKind costs : kinds)
            for (int repeat = 0; repeat < repeats; ++repeat)
                test(requests.next(family, costs));
}

void require_good(const ScheduleRequest& request, const Schedule& schedule, MatchingRule rule)
{
    const ScheduleReport report = check_schedule(schedule, rule);
    BOOST_REQUIRE_MESSAGE(report.good(), in_words(request)
                                             << "\n"
                                             << (report.good() ? "" : report.problems.front()));
}

double update_time(const ScheduleRequest& request)
{
    return simulate(make_schedule(request), request.costs).total;
}

} // namespace

BOOST_AUTO_TEST_SUITE(schedule_properties)

BOOST_AUTO_TEST_CASE(every_schedule_finishes_in_order_within_its_claim)
{
    int num_checked = 0;
    for_many_requests(
        {CostKind::none, CostKind::alike_with_transfers, CostKind::uneven, CostKind::wild}, 50,
        [&](const ScheduleRequest& request) {
            const Schedule schedule = make_schedule(request);
            BOOST_REQUIRE_MESSAGE(most_live(schedule) <= claimed_live_activations(request),
                                  in_words(request) << "\n"
                                                    << most_live(schedule) << " live");
            for (const std::int32_t ahead : {0, 1, 4})
                for (const auto rule : {MatchingRule::by_tag, MatchingRule::in_order})
                    require_good(request, with_communication(schedule, ahead), rule);
            ++num_checked;
        });
    BOOST_TEST(num_checked == 1400);
}

// Compared per stage: a chunk is 1/v of it. V-half pays for its memory; idle_time tests it.
BOOST_AUTO_TEST_CASE(never_slower_than_1f1b_where_all_chunks_cost_the_same)
{
    for_many_requests({CostKind::alike}, 200, [](ScheduleRequest request) {
        if (request.family == ScheduleFamily::v_half)
            return;
        request.extra_warmup = 0;
        ScheduleRequest plain = request;
        plain.family = ScheduleFamily::one_f_one_b;
        plain.chunks_per_rank = 1;
        const double v = request.chunks_per_rank;
        const ChunkCosts chunk = request.costs.front();
        plain.costs.assign(
            static_cast<std::size_t>(request.num_ranks),
            {v * chunk.forward, v * chunk.backward_input, v * chunk.backward_weight, 0.0});
        const double time = update_time(request), plain_time = update_time(plain);
        BOOST_TEST(time <= plain_time * (1.0 + 1e-9), in_words(request)
                                                          << "\n"
                                                          << time << " against " << plain_time);
        if (request.family == ScheduleFamily::interleaved_zb) {
            plain = request;
            plain.family = ScheduleFamily::interleaved_1f1b;
            BOOST_TEST(time <= update_time(plain) * (1.0 + 1e-9), in_words(request));
        }
    });
}

// Costs only ever help: the schedule made for them is no slower than the one made without.
BOOST_AUTO_TEST_CASE(costs_in_the_request_never_cost_time)
{
    int num_faster = 0;
    for_many_requests({CostKind::alike_with_transfers, CostKind::uneven, CostKind::wild}, 60,
                      [&](ScheduleRequest request) {
                          const std::vector<ChunkCosts> costs = request.costs;
                          const double suited = update_time(request);
                          request.costs.clear();
                          const double unsuited = simulate(make_schedule(request), costs).total;
                          BOOST_TEST(suited <= unsuited * (1.0 + 1e-9), in_words(request));
                          num_faster += suited < 0.999 * unsuited;
                      });
    BOOST_TEST(num_faster > 100);
}

BOOST_AUTO_TEST_CASE(equal_requests_give_equal_schedules)
{
    for_many_requests({CostKind::none, CostKind::uneven}, 10, [](const ScheduleRequest& request) {
        BOOST_CHECK(make_schedule(request) == make_schedule(request));
    });
}

BOOST_AUTO_TEST_SUITE_END()
