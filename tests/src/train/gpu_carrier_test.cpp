#include "src/train/gpu_carrier.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

const CarrierFacts all_is_there{.gpus_alone = true,
                                .keeps_order = true,
                                .nccl_version = "2.28.9",
                                .mpi_takes_gpus = true,
                                .num_channel_ends = 4};

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

GpuCarrier between_chunks(GpuTransport asked, const CarrierFacts& facts)
{
    return choose_carriers(asked, facts).chunks.carrier;
}

std::string problem_with(const CarrierFacts& facts)
{
    try {
        choose_carriers(GpuTransport::nccl, facts);
    } catch (const UserError& error) {
        BOOST_CHECK(error.code() == ExitCode::usage);
        BOOST_CHECK_EQUAL(error.where(), "pipeline.transport");
        BOOST_CHECK(has(error.remedy(), "\"mpi\""));
        return error.problem();
    }
    return {};
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_carrier)

BOOST_AUTO_TEST_CASE(auto_takes_the_shortest_way_there_is)
{
    CarrierFacts alone = all_is_there, ordered = all_is_there, found = all_is_there;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, all_is_there) == GpuCarrier::nccl);
    alone.gpus_alone = false;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, alone) == GpuCarrier::staged);
    ordered.keeps_order = false;
    found.why_no_nccl = "rank 1 on n2: cannot load it";
    for (CarrierFacts facts : {ordered, found}) {
        BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::direct);
        facts.mpi_takes_gpus = false;
        BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::staged);
    }
}

BOOST_AUTO_TEST_CASE(what_is_asked_for_is_what_comes)
{
    BOOST_CHECK(between_chunks(GpuTransport::nccl, all_is_there) == GpuCarrier::nccl);
    BOOST_CHECK(between_chunks(GpuTransport::mpi, all_is_there) == GpuCarrier::direct);
    BOOST_CHECK(between_chunks(GpuTransport::staged, all_is_there) == GpuCarrier::staged);
    CarrierFacts facts = all_is_there;
    facts.mpi_takes_gpus = false;
    BOOST_CHECK(between_chunks(GpuTransport::mpi, facts) == GpuCarrier::staged);
    for (const GpuTransport asked : {GpuTransport::mpi, GpuTransport::staged}) {
        facts.num_replicas = 2;
        BOOST_CHECK(choose_carriers(asked, facts).replicas.carrier == GpuCarrier::staged);
    }
}

BOOST_AUTO_TEST_CASE(the_reason_is_given)
{
    const auto in_words = [](GpuTransport asked, const CarrierFacts& facts) {
        return choose_carriers(asked, facts).chunks.in_words;
    };
    CarrierFacts facts{.mpi_takes_gpus = true};
    BOOST_TEST(has(in_words(GpuTransport::automatic, facts), "ranks share a GPU"));
    BOOST_TEST(has(in_words(GpuTransport::mpi, facts), "this MPI takes GPUs' memory"));
    facts = {.gpus_alone = true, .keeps_order = true, .why_no_nccl = "rank 1 on n2: not there"};
    const std::string staged = in_words(GpuTransport::automatic, facts);
    BOOST_TEST(has(staged, "rank 1 on n2: not there"));
    BOOST_TEST(has(staged, "does not take GPUs' memory"));
    BOOST_TEST(!has(in_words(GpuTransport::mpi, facts), "NCCL"));
    BOOST_TEST(has(in_words(GpuTransport::nccl, all_is_there), "2.28.9"));
}

// A run that is many times slower for want of a library is told so.
BOOST_AUTO_TEST_CASE(a_missing_library_is_warned_of_where_it_would_serve)
{
    CarrierFacts facts = all_is_there;
    BOOST_TEST(choose_carriers(GpuTransport::automatic, facts).warning.empty());
    facts.why_no_nccl = "rank 1 on n2: not there";
    BOOST_TEST(has(choose_carriers(GpuTransport::automatic, facts).warning, "rank 1 on n2: not"));
    BOOST_TEST(choose_carriers(GpuTransport::mpi, facts).warning.empty());
    facts.gpus_alone = false;
    BOOST_TEST(choose_carriers(GpuTransport::automatic, facts).warning.empty());
}

BOOST_AUTO_TEST_CASE(nccl_is_refused_where_it_cannot_be)
{
    BOOST_TEST(problem_with(all_is_there).empty());
    CarrierFacts facts = all_is_there;
    facts.gpus_alone = false;
    BOOST_TEST(has(problem_with(facts), "ranks share a GPU"));
    facts = all_is_there;
    facts.keeps_order = false;
    BOOST_TEST(has(problem_with(facts), "order"));
    facts = all_is_there;
    facts.why_no_nccl = "rank 1 on n2: not there";
    BOOST_TEST(has(problem_with(facts), "rank 1 on n2: not there"));
}

// Three for each communicator and five beside them, in 32 queues: nine communicators fit, as a
// V shape and an exchange of replicas have, ten do not.
BOOST_AUTO_TEST_CASE(more_streams_than_queues_could_wait_for_one_another)
{
    CarrierFacts facts = all_is_there;
    facts.num_channel_ends = 8;
    facts.num_replicas = 2;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::nccl);
    facts.num_channel_ends = 9;
    ChosenCarriers chosen = choose_carriers(GpuTransport::automatic, facts);
    BOOST_CHECK(chosen.chunks.carrier == GpuCarrier::staged);
    BOOST_TEST(has(chosen.chunks.in_words, "35 streams on a GPU would share 32 queues"));
    BOOST_TEST(has(chosen.warning, "is not used: 35 streams on a GPU would share 32 queues"));
    BOOST_CHECK(chosen.replicas.carrier == GpuCarrier::nccl); // one communicator
    facts.num_replicas = 1;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::nccl);
    facts.num_queues = 1;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::direct);
    chosen = choose_carriers(GpuTransport::nccl, facts);
    BOOST_CHECK(chosen.chunks.carrier == GpuCarrier::nccl);
    BOOST_TEST(has(chosen.warning, "32 streams on a GPU would share 1 queues"));
}

// Eight ends of four blocks and an exchange of eight: 40, of which 80 multiprocessors are twice.
BOOST_AUTO_TEST_CASE(a_small_gpu_has_no_room_for_what_waits)
{
    CarrierFacts facts = all_is_there;
    facts.num_channel_ends = 8;
    facts.num_replicas = 2;
    facts.num_multiprocessors = 80;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::nccl);
    facts.num_multiprocessors = 79;
    const ChosenCarriers chosen = choose_carriers(GpuTransport::automatic, facts);
    BOOST_CHECK(chosen.chunks.carrier == GpuCarrier::staged);
    BOOST_TEST(has(chosen.chunks.in_words, "may hold 40 of a GPU's 79 multiprocessors"));
    BOOST_CHECK(chosen.replicas.carrier == GpuCarrier::nccl); // eight
    BOOST_TEST(has(choose_carriers(GpuTransport::nccl, facts).warning, "79 multiprocessors"));
    facts = all_is_there;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::nccl);
    facts.nccl_max_ctas = 16; // four ends: 64
    BOOST_TEST(has(choose_carriers(GpuTransport::automatic, facts).warning, "may hold 64 of"));
}

BOOST_AUTO_TEST_CASE(mpi_takes_no_gpu_memory_beside_nccl)
{
    CarrierFacts facts = all_is_there;
    facts.keeps_order = false;
    BOOST_CHECK(between_chunks(GpuTransport::automatic, facts) == GpuCarrier::direct);
    facts.num_replicas = 2;
    const ChosenCarriers chosen = choose_carriers(GpuTransport::automatic, facts);
    BOOST_CHECK(chosen.replicas.carrier == GpuCarrier::nccl);
    BOOST_CHECK(chosen.chunks.carrier == GpuCarrier::staged);
    BOOST_TEST(has(chosen.chunks.in_words, "order that NCCL needs"));
    BOOST_TEST(has(chosen.chunks.in_words, "beside NCCL"));
}

BOOST_AUTO_TEST_CASE(the_first_rank_without_nccl_or_with_another_is_named)
{
    std::vector<RankNccl> ranks(3, {.node = "n1", .why_none = {}, .version = "2.28.9"});
    BOOST_TEST(why_not_on_all(ranks).empty());
    ranks[2] = {.node = "n2", .why_none = {}, .version = "2.27.5"};
    BOOST_TEST(why_not_on_all(ranks) == "rank 0 on n1 has 2.28.9, rank 2 on n2 2.27.5");
    ranks[1] = {.node = "n2", .why_none = "not there", .version = {}};
    BOOST_TEST(why_not_on_all(ranks) == "rank 1 on n2: not there");
    BOOST_TEST(why_not_on_all(std::vector<RankNccl>(2, ranks[1])) == "not there");
}

BOOST_AUTO_TEST_SUITE_END()
