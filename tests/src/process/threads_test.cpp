#include "src/process/threads.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

using namespace sluice;

namespace {

/// Room for `bytes` more addresses than this process has now, until it goes.
class RoomFor {
public:
    explicit RoomFor(rlim_t bytes)
    {
        getrlimit(RLIMIT_AS, &before_);
        rlim_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        rlimit limit = before_;
        limit.rlim_cur = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + bytes;
        setrlimit(RLIMIT_AS, &limit);
    }
    ~RoomFor() { setrlimit(RLIMIT_AS, &before_); }

private:
    rlimit before_{};
};

} // namespace

BOOST_AUTO_TEST_SUITE(threads)

BOOST_AUTO_TEST_CASE(as_many_as_there_may_be)
{
    BOOST_CHECK_NO_THROW(require_threads(6));
    const RoomFor some(200 << 20); // stacks take 8 MiB each
    std::string problem;
    try {
        require_threads(1000);
    } catch (const UserError& error) {
        problem = error.problem();
        BOOST_TEST((error.code() == ExitCode::usage));
    }
    BOOST_TEST(problem.starts_with("only "), problem);
    BOOST_TEST(problem.find(" of 1000 threads could be started: ") != std::string::npos, problem);
    BOOST_CHECK_NO_THROW(require_threads(6)); // those that were there have gone
}

BOOST_AUTO_TEST_SUITE_END()
