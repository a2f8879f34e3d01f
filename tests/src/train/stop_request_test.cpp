#include "src/train/stop_request.hpp"

#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>

using namespace sluice;

namespace {

struct StopFile {
    testing::TemporaryFolder run;
    std::filesystem::path path = run / "STOP";
    void touch() const { std::ofstream(path) << ""; }
};

} // namespace

BOOST_AUTO_TEST_SUITE(stop_request)

BOOST_AUTO_TEST_CASE(a_file_is_seen_and_removed_once_obeyed)
{
    const StopFile file;
    StopRequest request(file.path, {});
    BOOST_TEST(!request.has_come());
    BOOST_TEST(request.reason() == "");
    file.touch();
    BOOST_TEST(request.has_come());
    BOOST_TEST(request.reason() == "a STOP file");
    BOOST_TEST(std::filesystem::exists(file.path));
    request.obeyed();
    BOOST_TEST(!std::filesystem::exists(file.path));
    BOOST_TEST(!StopRequest(file.path, {}).has_come());
}

BOOST_AUTO_TEST_CASE(a_file_that_was_not_the_reason_stays)
{
    const StopFile file;
    StopRequest request(file.path, {});
    BOOST_TEST(!request.has_come());
    file.touch();
    request.obeyed();
    BOOST_TEST(std::filesystem::exists(file.path));
}

BOOST_AUTO_TEST_CASE(a_launchers_word_counts_where_its_signal_was_lost)
{
    const StopFile file;
    const std::filesystem::path word = file.run / ".stop-signal";
    StopRequest request(file.path, {}, word);
    BOOST_TEST(!request.has_come());
    std::ofstream(word) << "SIGTERM\n";
    BOOST_TEST(!StopRequest(file.path, {}).has_come()); // one that has no launcher
    BOOST_TEST(request.has_come());
    BOOST_TEST(request.reason() == "SIGTERM");
    request.obeyed();
    BOOST_TEST(!std::filesystem::exists(word));
}

BOOST_AUTO_TEST_CASE(the_end_of_the_time)
{
    StopRequest enough({}, TimeBudget(1000.0, 1.0));
    BOOST_TEST(!enough.has_come());
    StopRequest short_of_it({}, TimeBudget(10.0, 20.0));
    BOOST_TEST(short_of_it.has_come());
    BOOST_TEST(short_of_it.reason() == "the time limit");
    short_of_it.saved(0.1);
    BOOST_TEST(short_of_it.has_come()); // once said, it holds
}

BOOST_AUTO_TEST_SUITE_END()
