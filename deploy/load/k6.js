// The same load with k6, at a rate that does not give way when the server slows down (an open model):
//
//     CUSTOMERS=outputs/latest/bundle/golden.json k6 run -e HOST=http://127.0.0.1:8000 deploy/load/k6.js
//
// From the environment, as in locustfile.py: CUSTOMERS (the path), CHURNLIB_KEY, MAX_P99_MS, MAX_FAILURES; and HOST,
// RATE (requests per second of all together, 200), DURATION (60s).
import { check } from 'k6';
import http from 'k6/http';

const rate = Number(__ENV.RATE || 200);

export const options = {
  scenarios: {
    single: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: __ENV.DURATION || '60s',
      preAllocatedVUs: 32,
      maxVUs: 512,
    },
  },
  // A limit that does not hold makes k6 exit with 99.
  thresholds: {
    http_req_failed: [`rate<=${__ENV.MAX_FAILURES || 0.001}`],
    http_req_duration: [`p(99)<${__ENV.MAX_P99_MS || 250}`],
    checks: ['rate>0.999'],
    // Requests that could not be sent in time: the load itself fell short.
    dropped_iterations: ['count==0'],
  },
};

// k6 resolves paths of open() from the folder of this file.
const customers = JSON.parse(open(__ENV.CUSTOMERS.startsWith('/') ? __ENV.CUSTOMERS : `../../${__ENV.CUSTOMERS}`)).map(
  (customer) => {
    const row = customer.row || customer;
    return JSON.stringify(Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)));
  },
);

const headers = { 'Content-Type': 'application/json' };
if (__ENV.CHURNLIB_KEY) {
  headers.Authorization = `Bearer ${__ENV.CHURNLIB_KEY}`;
}

export default function () {
  const body = customers[Math.floor(Math.random() * customers.length)];
  const answer = http.post(`${__ENV.HOST || 'http://127.0.0.1:8000'}/predict`, body, { headers });
  check(answer, {
    'a probability between 0 and 1': (r) => r.status === 200 && r.json('churn_probability') >= 0 && r.json('churn_probability') <= 1,
  });
}
