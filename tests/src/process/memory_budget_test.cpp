#include "src/process/memory_budget.hpp"

#include "pipeline/transport/transport.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

using namespace sluice;

namespace {

namespace fs = std::filesystem;

struct Hierarchy {
    testing::TemporaryFolder folder;
    fs::path root = folder.path();
    Hierarchy() { fs::create_directories(root / "slurm" / "job_1" / "step_0"); }
    void write(const fs::path& file, const std::string& text) const
    {
        std::ofstream(root / file) << text << "\n";
    }
};

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

} // namespace

BOOST_AUTO_TEST_SUITE(memory_budget)

BOOST_AUTO_TEST_CASE(addresses_that_are_taken_or_threads_will_reserve_do_not_count)
{
    constexpr std::size_t mib = std::size_t{1} << 20;
    BOOST_TEST(address_space_for_a_rank(1000 * mib, 200 * mib) == (1000 - 200 - 192 + 64) * mib);
    BOOST_TEST(address_space_for_a_rank(300 * mib, 200 * mib) == 0u);
}

BOOST_FIXTURE_TEST_CASE(the_smallest_limit_on_the_way_up_counts, Hierarchy)
{
    BOOST_TEST(control_group_limit(root, "/slurm/job_1/step_0") == no_limit);
    write("slurm/job_1/step_0/memory.max", "max");
    BOOST_TEST(control_group_limit(root, "/slurm/job_1/step_0") == no_limit);
    write("slurm/job_1/memory.max", "5000000");
    BOOST_TEST(control_group_limit(root, "/slurm/job_1/step_0") == 5000000u);
    write("memory.limit_in_bytes", "4000000");
    BOOST_TEST(control_group_limit(root, "/slurm/job_1/step_0") == 4000000u);
    BOOST_TEST(control_group_limit(root, "/nowhere") == 4000000u);
    BOOST_TEST(control_group_limit(root, "/") == 4000000u);
}

BOOST_AUTO_TEST_CASE(ranks_share_the_machine)
{
    setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "1", 1);
    const std::size_t whole = memory_per_rank();
    setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "4", 1);
    BOOST_TEST(memory_per_rank() == whole / 4);
    unsetenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    BOOST_TEST(whole > 100'000'000u);
    BOOST_TEST(ranks_on_this_machine() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
