#include "io/trace_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

using namespace sluice;
using Json = nlohmann::ordered_json;

BOOST_AUTO_TEST_SUITE(trace_file)

BOOST_AUTO_TEST_CASE(events_are_in_order_of_time_with_exact_microseconds)
{
    TraceFile file;
    file.name_process(1, "rank 1: layer 3");
    file.name_row({1, 0}, "compute");
    file.add_span({1, 0}, "compute", "B\"0\"", 9'007'199'254'740'993'001, 9'007'199'254'740'993'501,
                  {{"chunk", 1}});
    file.add_span({1, 0}, "compute", "F0", 1'500, 4'001, {});
    file.add_arrow(17, "activation", {0, 2}, -250, {1, 0}, 1'500);
    file.add_count(1, "live", 1'500, 1);
    const testing::TemporaryFolder folder;
    const auto path = folder / "trace.json";
    file.write(path, {{"num_ranks", 2}});
    const std::string text = read_file(path);
    // Neither digit may get lost in a double.
    BOOST_TEST(text.find("\"ts\":9007199254740993.001,\"dur\":0.500,\"args\":{\"chunk\":1}}") !=
               text.npos);
    const Json json = Json::parse(text);
    BOOST_TEST(json["otherData"]["num_ranks"] == 2);
    std::vector<std::string> phases;
    for (const Json& event : json["traceEvents"])
        phases.push_back(event["ph"]);
    BOOST_TEST(phases == (std::vector<std::string>{"M", "M", "M", "M", "s", "X", "f", "C", "X"}),
               boost::test_tools::per_element());
    const Json &start = json["traceEvents"][4], &finish = json["traceEvents"][6];
    BOOST_TEST(start["ts"] == -0.25);
    BOOST_TEST(start["pid"] == 0);
    BOOST_TEST(start["tid"] == 2);
    BOOST_TEST(finish["bp"] == "e");
    BOOST_TEST(start["id"] == finish["id"]);
    BOOST_TEST(json["traceEvents"][8]["name"] == "B\"0\"");
}

BOOST_AUTO_TEST_CASE(a_span_never_has_a_negative_length)
{
    TraceFile file;
    file.add_span({0, 0}, "a", "b", 100, 50, {});
    const testing::TemporaryFolder folder;
    const auto path = folder / "trace.json";
    file.write(path, Json::object());
    BOOST_TEST(Json::parse(read_file(path))["traceEvents"][0]["dur"] == 0.0);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_written_is_said)
{
    TraceFile file;
    BOOST_CHECK_THROW(file.write("/nowhere/at/all.json", Json::object()), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
