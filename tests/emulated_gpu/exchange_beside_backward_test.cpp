// Replicas with an emulated GPU each and NCCL between them, whose GPUs take their time.
#include "pipeline/gradient_exchange.hpp"

#include "layers/kernels/elementwise.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/pipeline/transport/ranks_with_nccl.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>

using namespace sluice;
using sluice::testing::ByNccl;
using sluice::testing::WorkQueue;
using sluice::testing::WorkQueues;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::int64_t num_layers = 8;

const ModelSpec model{.vocab_size = 64,
                      .hidden_size = 16,
                      .intermediate_size = 24,
                      .num_layers = num_layers,
                      .num_heads = 2,
                      .max_seq_len = 4};

struct Replica {
    ByNccl ranks;
    std::unique_ptr<Transport> peers = ranks.groups();
    Schedule program = with_communication(make_1f1b(1, 1));
    ScheduleReport report = check_schedule(program);
    Stage stage{StageOptions{.model = model,
                             .micro_batch = {1, 4},
                             .stream = ranks.stream(),
                             .warmup = WarmupSchedule::off,
                             .warmup_steps = 1,
                             .moments = {ranks.rank(), ranks.num_ranks()}},
                program,
                report.slots,
                {{.begin = 0, .end = num_layers, .embedding = true, .head = true}}};
    GradientExchange exchange{stage, *peers, VerifyTransfers::yes};

    Replica() { exchange.rehearse(); }
    std::span<Parameter> parameters() { return stage.chunks().front().model->parameters(); }

    /// As a backward pass tells of it: group by group from the last, the host far ahead.
    void backward()
    {
        auto groups = groups_of(parameters());
        std::reverse(groups.begin(), groups.end());
        Clock::time_point done = Clock::now();
        for (const ParameterGroup& group : groups) {
            done += std::chrono::milliseconds(200);
            WorkQueues::of_process().add(
                *static_cast<WorkQueue*>(GpuStream::of(ranks.stream()).native()), "a layer", [] {},
                [done] { return Clock::now() >= done; });
            kernels::launch(ranks.stream(),
                            kernels::Fill{.to = group.gradient, .value = 1.0 + ranks.rank()});
            exchange.gradients_done(parameters().subspan(group.first, group.last - group.first));
        }
    }
    /// Elements that this replica owns and that are not the sum of all replicas'.
    std::int64_t num_wrong()
    {
        const auto sum = static_cast<float>(ranks.num_ranks() * (ranks.num_ranks() + 1) / 2);
        std::int64_t wrong = 0;
        for (const Parameter& parameter : parameters()) {
            const HostCopy gradient(ranks.stream(), parameter.gradient);
            for (std::int64_t i = parameter.owned.begin; i < parameter.owned.end; ++i)
                wrong += gradient.view().as<float>()[i] != sum;
        }
        return wrong;
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(exchange_beside_backward)

BOOST_AUTO_TEST_CASE(more_than_the_first_pieces_travel_beside_the_backward_pass)
{
    Replica replica;
    for (int update = 0; update < 2; ++update) {
        replica.backward();
        BOOST_TEST(replica.exchange.num_begun() > num_layers / 2); // of two more
        replica.exchange.finish();
        BOOST_TEST(replica.num_wrong() == 0);
    }
}

BOOST_AUTO_TEST_SUITE_END()
