#include "src/train/time_budget.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string_view>

namespace sluice {

namespace {

const auto start_of_process = std::chrono::steady_clock::now();

} // namespace

void TimeBudget::update_passed(double now)
{
    if (last_ >= 0.0)
        recent_[next_++ % remembered_updates] = now - last_;
    last_ = now;
}

double TimeBudget::needed() const
{
    const double saves = (saving_ ? 2.0 : 1.0) * save_seconds_;
    return allowance * (*std::max_element(recent_.begin(), recent_.end()) + saves) +
           leaving_seconds;
}

double seconds_until_end(std::int64_t time_limit_seconds)
{
    const std::chrono::duration<double> passed =
        std::chrono::steady_clock::now() - start_of_process;
    double left = time_limit_seconds > 0 ? static_cast<double>(time_limit_seconds) - passed.count()
                                         : TimeBudget::never;
    if (const char* const text = std::getenv("SLURM_JOB_END_TIME")) {
        const std::string_view digits(text);
        std::int64_t end = 0;
        const auto [rest, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), end);
        if (error == std::errc() && rest == digits.data() + digits.size() && end > 0) {
            const auto now = std::chrono::system_clock::now().time_since_epoch();
            left = std::min(left,
                            static_cast<double>(end) - std::chrono::duration<double>(now).count());
        }
    }
    return left;
}

} // namespace sluice
