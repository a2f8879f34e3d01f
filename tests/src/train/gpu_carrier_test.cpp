#include "src/train/gpu_carrier.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

constexpr CarrierFacts all_is_there{
    .gpus_alone = true, .keeps_order = true, .has_nccl = true, .mpi_takes_gpus = true};

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_carrier)

BOOST_AUTO_TEST_CASE(auto_takes_the_shortest_way_there_is)
{
    CarrierFacts facts = all_is_there;
    BOOST_CHECK(choose_carrier(GpuTransport::automatic, facts).carrier == GpuCarrier::nccl);
    for (bool CarrierFacts::*need :
         {&CarrierFacts::gpus_alone, &CarrierFacts::keeps_order, &CarrierFacts::has_nccl}) {
        facts = all_is_there;
        facts.*need = false;
        BOOST_CHECK(choose_carrier(GpuTransport::automatic, facts).carrier == GpuCarrier::direct);
        facts.mpi_takes_gpus = false;
        BOOST_CHECK(choose_carrier(GpuTransport::automatic, facts).carrier == GpuCarrier::staged);
    }
}

BOOST_AUTO_TEST_CASE(what_is_asked_for_is_what_comes)
{
    BOOST_CHECK(choose_carrier(GpuTransport::nccl, all_is_there).carrier == GpuCarrier::nccl);
    BOOST_CHECK(choose_carrier(GpuTransport::mpi, all_is_there).carrier == GpuCarrier::direct);
    BOOST_CHECK(choose_carrier(GpuTransport::staged, all_is_there).carrier == GpuCarrier::staged);
    CarrierFacts facts = all_is_there;
    facts.mpi_takes_gpus = false;
    BOOST_CHECK(choose_carrier(GpuTransport::mpi, facts).carrier == GpuCarrier::staged);
}

BOOST_AUTO_TEST_CASE(the_reason_is_given)
{
    CarrierFacts facts{.mpi_takes_gpus = true};
    const std::string direct = choose_carrier(GpuTransport::automatic, facts).in_words;
    BOOST_TEST(has(direct, "ranks share a GPU"));
    BOOST_TEST(has(direct, "takes GPUs' memory"));
    facts = {.gpus_alone = true, .keeps_order = true};
    const std::string staged = choose_carrier(GpuTransport::automatic, facts).in_words;
    BOOST_TEST(has(staged, "no NCCL"));
    BOOST_TEST(has(staged, "does not take GPUs' memory"));
    BOOST_TEST(!has(choose_carrier(GpuTransport::mpi, facts).in_words, "NCCL"));
}

BOOST_AUTO_TEST_CASE(nccl_is_refused_where_it_cannot_be)
{
    CarrierFacts facts = all_is_there;
    facts.gpus_alone = false;
    BOOST_CHECK_EXCEPTION(
        choose_carrier(GpuTransport::nccl, facts), UserError, [](const UserError& error) {
            return has(error.what(), "ranks share a GPU") &&
                   has(error.what(), "pipeline.transport") && has(error.what(), "\"mpi\"");
        });
    facts = all_is_there;
    facts.keeps_order = false;
    BOOST_CHECK_THROW(choose_carrier(GpuTransport::nccl, facts), UserError);
    facts = all_is_there;
    facts.has_nccl = false;
    BOOST_CHECK_THROW(choose_carrier(GpuTransport::nccl, facts), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
