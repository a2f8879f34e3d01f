#include "pipeline/transport/transport.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

using namespace sluice;

namespace {

/// Sets exactly these of the launchers' variables, and puts the old ones back.
class Environment {
public:
    explicit Environment(const std::map<std::string, std::string>& variables)
    {
        for (const char* name :
             {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "PMIX_RANK",
              "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"}) {
            const char* old = std::getenv(name);
            old_[name] = old ? std::optional<std::string>(old) : std::nullopt;
            unsetenv(name);
        }
        for (const auto& [name, value] : variables)
            setenv(name.c_str(), value.c_str(), 1);
    }
    ~Environment()
    {
        for (const auto& [name, value] : old_)
            if (value)
                setenv(name.c_str(), value->c_str(), 1);
            else
                unsetenv(name.c_str());
    }

private:
    std::map<std::string, std::optional<std::string>> old_;
};

void check(const std::map<std::string, std::string>& variables, const LaunchedAs& wanted)
{
    const Environment environment(variables);
    const LaunchedAs found = launched_as();
    BOOST_TEST(found.rank == wanted.rank);
    BOOST_TEST(found.num_ranks == wanted.num_ranks);
    BOOST_TEST(found.by_launcher == wanted.by_launcher);
    BOOST_TEST(found.num_slurm_tasks == wanted.num_slurm_tasks);
}

} // namespace

BOOST_AUTO_TEST_SUITE(launched_as)

BOOST_AUTO_TEST_CASE(what_each_launcher_says)
{
    check({}, {0, 1, false});
    check({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}, {2, 4, true});
    check({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}}, {1, 3, true});
    check({{"PMIX_RANK", "5"}, {"SLURM_PROCID", "5"}, {"SLURM_STEP_NUM_TASKS", "8"}}, {5, 8, true});
    check({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}, {0, 1, true});
}

// mpirun inside a batch job sees Slurm's variables of the whole job too.
BOOST_AUTO_TEST_CASE(the_launcher_nearest_to_the_process_counts)
{
    check({{"OMPI_COMM_WORLD_RANK", "1"},
           {"OMPI_COMM_WORLD_SIZE", "2"},
           {"PMIX_RANK", "1"},
           {"SLURM_STEP_ID", "0"},
           {"SLURM_PROCID", "0"},
           {"SLURM_STEP_NUM_TASKS", "1"}},
          {1, 2, true});
}

BOOST_AUTO_TEST_CASE(a_batch_script_is_no_launch)
{
    check({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}, {0, 1, false});
    check({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}, {0, 1, false});
}

// As seen under Slurm 22.05 with --mpi=pmix, pmi2 and none.
BOOST_AUTO_TEST_CASE(srun_says_how_many_tasks_it_started)
{
    const std::map<std::string, std::string> step{
        {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "3"}};
    auto pmix = step, pmi2 = step;
    pmix["PMIX_RANK"] = "3";
    pmi2["PMI_RANK"] = "3";
    pmi2["PMI_SIZE"] = "4";
    check(pmix, {3, 4, true, 4});
    check(pmi2, {3, 4, true, 4});
    check(step, {3, 1, false, 4});
}

BOOST_AUTO_TEST_CASE(nonsense_is_ignored)
{
    check({{"OMPI_COMM_WORLD_RANK", "2"}}, {0, 1, false});
    check({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "2"}}, {0, 1, false});
    check({{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "2"}}, {0, 1, false});
    check({{"OMPI_COMM_WORLD_RANK", ""}, {"OMPI_COMM_WORLD_SIZE", ""}}, {0, 1, false});
}

BOOST_AUTO_TEST_SUITE_END()
