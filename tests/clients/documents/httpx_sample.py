import httpx

request = {
    "max_tokens": 256,
    "temperature": 1,
    "messages": [
        {
            "role": "system",
            "content": "You are an AI assistant that writes poems in the style of William Shakespeare.",
        },
        {"role": "user", "content": "Write a poem about indian elephants"},
    ],
}

url = "https://YOUR_OPENAI_PROXY_ENDPOINT/api/v1/chat/completions"

headers = {"openai-event-code": "hackathon/githubuser"}

response = httpx.post(url=url, headers=headers, json=request, timeout=30)

if response.status_code == 200:
    print(response.json())
