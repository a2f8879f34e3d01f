#include "src/train/rank_device.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace sluice;

namespace {

RankGpu gpu(const std::string& node, int index, const std::string& uuid,
            const std::string& name = "NVIDIA H200")
{
    return {.node = node,
            .machine = "boot of " + node,
            .num_visible = 2,
            .why_none = {},
            .driver_loaded = true,
            .index = index,
            .name = name,
            .uuid = uuid,
            .pci_bus = "0000:0" + std::to_string(index) + ":00.0",
            .major = 9,
            .minor = 0};
}

std::string problem_with(const std::vector<RankGpu>& of_rank)
{
    try {
        refuse_unfit_gpus(of_rank);
    } catch (const UserError& error) {
        BOOST_CHECK(error.code() == ExitCode::usage);
        BOOST_CHECK_EQUAL(error.where(), "run.device");
        BOOST_CHECK(!error.remedy().empty());
        return error.problem();
    }
    return {};
}

RunConfig asking_for(const std::string& device)
{
    RunConfig config;
    config.run.device = device;
    return config;
}

} // namespace

BOOST_AUTO_TEST_SUITE(rank_device)

BOOST_AUTO_TEST_CASE(ranks_of_a_node_take_its_gpus_in_turns)
{
    BOOST_CHECK_EQUAL(gpu_index_of(0, 2), 0);
    BOOST_CHECK_EQUAL(gpu_index_of(1, 2), 1);
    BOOST_CHECK_EQUAL(gpu_index_of(2, 2), 0);
    BOOST_CHECK_EQUAL(gpu_index_of(3, 1), 0); // each task sees its own
}

BOOST_AUTO_TEST_CASE(equal_gpus_are_fit)
{
    BOOST_CHECK_EQUAL(problem_with({gpu("n1", 0, "a"), gpu("n2", 1, "b")}), "");
}

BOOST_AUTO_TEST_CASE(a_rank_without_a_gpu_is_named)
{
    RankGpu none{.node = "n2", .why_none = "no NVIDIA driver is loaded"};
    BOOST_CHECK_EQUAL(problem_with({gpu("n1", 0, "a"), none}),
                      "rank 1 on n2 has no GPU: no NVIDIA driver is loaded");
}

BOOST_AUTO_TEST_CASE(gpus_of_unequal_kind_are_refused)
{
    BOOST_CHECK_EQUAL(
        problem_with({gpu("n1", 0, "a"), gpu("n1", 1, "b"), gpu("n2", 0, "c", "NVIDIA A100")}),
        "ranks have GPUs of different kinds: rank 0 on n1 NVIDIA H200 (compute capability 9.0), "
        "rank 2 on n2 NVIDIA A100 (compute capability 9.0); the slowest would hold up all, and "
        "sums would be rounded differently");
}

BOOST_AUTO_TEST_CASE(gpus_too_old_for_the_kernels_are_refused)
{
    RankGpu old = gpu("n1", 0, "a", "Tesla V100");
    old.major = 7;
    BOOST_CHECK_EQUAL(problem_with({old}), "rank 0 on n1 has a GPU of an older kind: Tesla V100 "
                                           "(compute capability 7.0)");
}

std::string line_for(const std::vector<RankGpu>& of_rank)
{
    const auto why = why_on_cpus(of_rank);
    return why ? (why->warns ? "warning: " : "") + why->line() : std::string();
}

BOOST_AUTO_TEST_CASE(why_a_run_is_on_cpus_is_said_and_warned_of_where_gpus_lie_idle)
{
    const RankGpu none{.node = "n2", .why_none = "no NVIDIA driver is loaded"};
    BOOST_CHECK_EQUAL(line_for({gpu("n1", 0, "a"), gpu("n2", 1, "b")}), "");
    BOOST_CHECK_EQUAL(line_for({none, none}),
                      "on CPUs: there are no GPUs (no NVIDIA driver is loaded)");
    const std::string remedy =
        "; device = \"cuda\" would refuse that, device = \"cpu\" does not mention it";
    BOOST_CHECK_EQUAL(line_for({gpu("n1", 0, "a"), none}),
                      "warning: on CPUs: rank 1 on n2 has no GPU: no NVIDIA driver is loaded" +
                          remedy);
    RankGpu hidden = none;
    hidden.why_none = "no GPU is visible";
    hidden.driver_loaded = true;
    BOOST_CHECK_EQUAL(line_for({hidden}),
                      "warning: on CPUs: rank 0 on n2 has no GPU: no GPU is visible" + remedy);
    BOOST_CHECK(line_for({gpu("n1", 0, "a"), gpu("n2", 0, "c", "NVIDIA A100")})
                    .starts_with("warning: on CPUs: ranks have GPUs of different kinds: rank 0"));
}

BOOST_AUTO_TEST_CASE(tf32_that_does_nothing_is_not_passed_over)
{
    RunConfig config = asking_for("cuda");
    config.tf32 = true;
    config.precision = ComputePrecision::fp32;
    BOOST_CHECK_EQUAL(refuse_idle_tf32(config), "");
    config.precision = ComputePrecision::bf16; // as "auto" becomes
    BOOST_CHECK_EXCEPTION(refuse_idle_tf32(config), UserError, [](const UserError& error) {
        return error.code() == ExitCode::usage &&
               error.problem() == "tf32 = true is for products of fp32, and this run computes in "
                                  "bf16";
    });
    config.tf32 = false;
    BOOST_CHECK_EQUAL(refuse_idle_tf32(config), "");
    config = asking_for("cpu");
    config.tf32 = true;
    config.precision = ComputePrecision::fp32;
    BOOST_CHECK_EQUAL(refuse_idle_tf32(config), "precision.tf32 does nothing on CPUs");
}

BOOST_AUTO_TEST_CASE(sharing_goes_by_the_gpu_and_not_by_its_number)
{
    const std::vector<RankGpu> tasks{gpu("n1", 0, "a"), gpu("n1", 0, "b"), gpu("n1", 0, "a"),
                                     gpu("n2", 0, "a")};
    BOOST_CHECK_EQUAL(num_sharing(tasks, 0), 2);
    BOOST_CHECK_EQUAL(num_sharing(tasks, 1), 1);
    BOOST_CHECK_EQUAL(num_sharing(tasks, 3), 1);
    const std::vector<std::string> wanted{"ranks 0, 2 share GPU 0 of n1 (NVIDIA H200)",
                                          "rank 1 on GPU 0 of n1 (NVIDIA H200)",
                                          "rank 3 on GPU 0 of n2 (NVIDIA H200)"};
    BOOST_TEST(gpu_lines(tasks) == wanted, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_gpu_that_is_missing_on_a_node_is_noticed)
{
    BOOST_TEST(uneven_sharing({gpu("n1", 0, "A"), gpu("n1", 1, "B")}) == "");
    BOOST_TEST(uneven_sharing({gpu("n1", 0, "A"), gpu("n1", 0, "A")}) == "");
    RankGpu alone = gpu("n2", 0, "C");
    alone.num_visible = 1;
    const std::string text = uneven_sharing({gpu("n1", 0, "A"), gpu("n1", 1, "B"), alone, alone});
    BOOST_TEST(
        text.starts_with("2 ranks, rank 2 the first of them, share a GPU of n2, where 1 can "),
        text);
}

// Parts of one GPU have names of their own, and one place on the bus.
BOOST_AUTO_TEST_CASE(parts_of_a_gpu_are_no_gpus_of_their_own)
{
    std::vector<RankGpu> ranks{gpu("n1", 0, "a"), gpu("n1", 1, "b"), gpu("n2", 0, "c")};
    BOOST_CHECK(all_alone(ranks));
    ranks[1].pci_bus = ranks[0].pci_bus;
    BOOST_CHECK(!all_alone(ranks));
    BOOST_CHECK_EQUAL(num_sharing(ranks, 0), 1); // each has memory of its own
    ranks[1].machine = "another boot";           // of a clone with the same name
    BOOST_CHECK(all_alone(ranks));
}

BOOST_AUTO_TEST_CASE(what_ranks_tell_each_other_survives_the_way)
{
    const RankGpu one = gpu("n1", 1, "0a\xff", "\"GPU\"");
    RankGpu back = gpu_from(to_text(one));
    BOOST_CHECK_EQUAL(back.name, one.name);
    back.uuid = one.uuid; // what is no UTF-8 is replaced
    BOOST_CHECK(back == one);
}

BOOST_AUTO_TEST_CASE(the_cpu_is_taken_when_asked_for_and_by_the_reference)
{
    const auto world = make_in_process_transport();
    RunConfig cpu = asking_for("cpu");
    BOOST_CHECK(!settle_device(cpu, *world).is_gpu());
    BOOST_CHECK_EQUAL(cpu.run.device, "cpu");
    RunConfig reference = asking_for("auto");
    reference.precision = ComputePrecision::fp64;
    BOOST_CHECK(!settle_device(reference, *world).is_gpu());
    BOOST_CHECK_EQUAL(reference.run.device, "cpu");
}

BOOST_AUTO_TEST_SUITE_END()
