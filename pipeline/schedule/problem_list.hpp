// What is wrong with a schedule, collected up to a bound so that a thoroughly wrong one does not
// fill memory with sentences.
#pragma once

#include "pipeline/schedule/schedule.hpp"

#include <concepts>
#include <cstddef>
#include <string>
#include <vector>

namespace sluice {

class ProblemList {
public:
    static constexpr std::size_t most_told = 1000;

    void add(const std::string& problem)
    {
        if (++count_ <= most_told)
            problems_.push_back(problem);
    }
    /// The sentence is made only where it will be told.
    template <std::invocable Sentence>
    void add(const Sentence& sentence)
    {
        if (count_ >= most_told)
            ++count_;
        else
            add(sentence());
    }
    void add_at(std::size_t rank, std::size_t position, const Action& action,
                const std::string& problem)
    {
        add([&] {
            return "rank " + std::to_string(rank) + ", position " + std::to_string(position) +
                   " (" + text_of(action) + "): " + problem;
        });
    }
    bool empty() const { return count_ == 0; }
    std::vector<std::string> take()
    {
        if (count_ > most_told)
            problems_.push_back("and " + std::to_string(count_ - most_told) + " more");
        return std::move(problems_);
    }

private:
    std::size_t count_ = 0;
    std::vector<std::string> problems_;
};

} // namespace sluice
