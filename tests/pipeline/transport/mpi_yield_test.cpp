#include "pipeline/transport/mpi_yield.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>

using namespace sluice;

namespace {

/// Variables of the environment as a launcher or a user would leave them; puts back what was there.
class Environment {
public:
    explicit Environment(const std::map<std::string, std::optional<std::string>>& variables)
    {
        for (const auto& [name, value] : variables) {
            const char* before = std::getenv(name.c_str());
            before_[name] = before ? std::optional<std::string>(before) : std::nullopt;
            set(name, value);
        }
    }
    ~Environment()
    {
        for (const auto& [name, value] : before_)
            set(name, value);
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

private:
    static void set(const std::string& name, const std::optional<std::string>& value)
    {
        if (value)
            setenv(name.c_str(), value->c_str(), 1);
        else
            unsetenv(name.c_str());
    }
    std::map<std::string, std::optional<std::string>> before_;
};

constexpr const char* yield = "OMPI_MCA_mpi_yield_when_idle";
constexpr const char* by_mpirun = "OMPI_COMM_WORLD_LOCAL_SIZE";
constexpr const char* by_slurm = "SLURM_STEP_TASKS_PER_NODE";
const std::string all_cores = std::to_string(cores_of_this_machine());
const std::string one_more = std::to_string(cores_of_this_machine() + 1);

} // namespace

BOOST_AUTO_TEST_SUITE(mpi_yield)

BOOST_AUTO_TEST_CASE(ranks_share_cores_where_there_are_more_of_them)
{
    for (const char* launcher : {by_mpirun, by_slurm})
        for (const std::string& ranks : {all_cores, one_more}) {
            const Environment nothing(
                {{yield, std::nullopt}, {by_mpirun, std::nullopt}, {by_slurm, std::nullopt}});
            const Environment launched({{launcher, ranks}});
            BOOST_TEST(ranks_share_cores() == (ranks == one_more));
            yield_when_cores_are_shared();
            BOOST_TEST((std::getenv(yield) != nullptr) == (ranks == one_more));
        }
}

BOOST_AUTO_TEST_CASE(what_open_mpi_was_told_decides)
{
    const Environment shared({{yield, "1"}, {by_mpirun, "1"}});
    BOOST_TEST(ranks_share_cores());
    for (const std::string no : {"0", "false"}) {
        const Environment alone({{yield, no}, {by_mpirun, one_more}});
        BOOST_TEST(!ranks_share_cores());
        yield_when_cores_are_shared();
        BOOST_TEST(std::getenv(yield) == no);
    }
}

BOOST_AUTO_TEST_CASE(a_rank_alone_shares_nothing)
{
    const Environment alone(
        {{yield, std::nullopt}, {by_mpirun, std::nullopt}, {by_slurm, std::nullopt}});
    BOOST_TEST(!ranks_share_cores());
}

BOOST_AUTO_TEST_SUITE_END()
