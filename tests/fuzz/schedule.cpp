// Schedule files: the text, the checker under every rule, and the text of what was read.
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    Schedule schedule;
    if (!fuzz::accepted([&] { schedule = parse_schedule(fuzz::text_of(data, size), "schedule"); }))
        return 0;
    Schedule again;
    fuzz::require(fuzz::accepted([&] { again = parse_schedule(text_of(schedule), "again"); }) &&
                      again == schedule,
                  "the text of a schedule reads as the same schedule");
    const ScheduleReport report = check_schedule(schedule);
    const ScheduleReport strict = check_schedule(schedule, MatchingRule::in_order);
    fuzz::require(!strict.good() || report.good(), "what is good in order is good by tag");
    return 0;
}
