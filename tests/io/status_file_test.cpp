#include "io/status_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace sluice;

namespace {

namespace fs = std::filesystem;
using sluice::testing::contains;
using sluice::testing::TemporaryFolder;

} // namespace

BOOST_AUTO_TEST_SUITE(status_file)

BOOST_AUTO_TEST_CASE(status_is_replaced_whole)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "status.json";
    write_status(path, "running", 3, "", 0);
    write_status(path, "stopped", 4, "stopped by \"SIGINT\"", 75);
    const std::string text = read_file(path);
    BOOST_TEST(contains(text, "\"state\": \"stopped\""));
    BOOST_TEST(contains(text, "\"update\": 4"));
    BOOST_TEST(contains(text, "\"reason\": \"stopped by \\\"SIGINT\\\"\""));
    BOOST_TEST(contains(text, "\"exit_code\": 75"));
    const auto status = read_status(path);
    BOOST_TEST_REQUIRE(status.has_value());
    BOOST_TEST(status->state == "stopped");
    BOOST_TEST(status->update == 4);
    BOOST_TEST(status->reason == "stopped by \"SIGINT\"");
    BOOST_TEST(status->exit_code == 75);
}

BOOST_AUTO_TEST_CASE(where_no_second_file_can_be_it_is_written_over)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "status.json";
    const std::string long_reason(200, 'x');
    write_status(path, "running", 3, "", 0);
    fs::create_directories(scratch.path() / "status.json.partial/in-the-way");
    write_status(path, "failed", 4, long_reason, 3); // longer
    BOOST_TEST_REQUIRE(read_status(path).has_value());
    BOOST_TEST(read_status(path)->reason == long_reason);
    write_status(path, "failed", 5, "", 3); // shorter
    BOOST_TEST_REQUIRE(read_status(path).has_value());
    BOOST_TEST(read_status(path)->update == 5);
    BOOST_TEST(read_status(path)->reason.empty());
    // Not where that would take room that may not be there, and leave half of it.
    BOOST_CHECK_THROW(write_status(path, "failed", 6, std::string(100'000, 'x'), 3), UserError);
    BOOST_TEST_REQUIRE(read_status(path).has_value());
    BOOST_TEST(read_status(path)->update == 5);
}

BOOST_AUTO_TEST_CASE(a_status_that_is_none_is_not_read)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "status.json";
    BOOST_TEST(!read_status(path).has_value());
    for (const char* text : {"", "{", "[]", R"({"state":"running"})",
                             R"({"state":1,"update":2,"reason":"","exit_code":0})"}) {
        write_file_durably(path, text);
        BOOST_TEST(!read_status(path).has_value());
    }
    fs::remove(path);
    fs::create_symlink("/dev/zero", path); // has no end
    BOOST_TEST(!read_status(path).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
